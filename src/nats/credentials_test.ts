import assert from "node:assert/strict";
import * as client from "@nats-io/nats-core";
import { formatError } from "../core/errors.ts";
import { readCredentials } from "./credentials.ts";

const folder = Deno.makeTempDirSync({ prefix: "flowgen-nats-" });
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

const path = `${folder}/credentials`;
const write = (content: unknown) =>
  Deno.writeTextFileSync(path, typeof content === "string" ? content : JSON.stringify(content));

function refusal(content: unknown): string {
  write(content);
  try {
    readCredentials(path, client);
  } catch (cause) {
    return formatError(cause as never).split("\n")[1]!.replace(path, "FILE");
  }
  return "";
}

const seedOf = (pair: client.nkeys.KeyPair) => new TextDecoder().decode(pair.getSeed());
const creds = (jwt: string, seed: string) =>
  `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n` +
  `-----BEGIN USER NKEY SEED-----\r\n${seed}\r\n------END USER NKEY SEED------\n`;

Deno.test("a credentials file answers what the server asks", () => {
  write({ user: "ann", password: "" });
  assert.deepEqual(readCredentials(path, client).authenticator(), { user: "ann", pass: "" });
  write({ token: "t" });
  assert.deepEqual(readCredentials(path, client).authenticator(), { auth_token: "t" });
  const user = client.nkeys.createUser();
  write({ nkey: { seed: `${seedOf(user)}\n` } });
  const signed = readCredentials(path, client).authenticator("nonce") as client.NKeyAuth;
  assert.equal(signed.nkey, user.getPublicKey());
  assert.ok(user.verify(new TextEncoder().encode("nonce"), client.nkeys.decode(signed.sig)));
  write(creds("a.b.c", seedOf(user)));
  const { jwt, nkey } = readCredentials(path, client).authenticator("n") as client.JwtAuth;
  assert.deepEqual([jwt, nkey], ["a.b.c", user.getPublicKey()]);
});

Deno.test("a credentials file that cannot be used is named with what is wrong, and not quoted", () => {
  const says = "Cannot use the credentials file FILE: ";
  const seed = seedOf(client.nkeys.createUser());
  assert.equal(refusal("secret"), `${says}it is neither JSON nor a .creds file`);
  assert.equal(refusal({ username: "u" }), `${says}its fields are not as expected`);
  assert.equal(refusal({ token: "" }), `${says}its fields are not as expected`);
  assert.equal(
    refusal({ nkey: { seed: "SUsecret" } }),
    `${says}its seed is not the seed of an nkey`,
  );
  assert.equal(refusal(creds("secret", seed)), `${says}it has no JWT of a user`);
  assert.equal(refusal(creds("a.b.c", "secret")), `${says}its seed is not the seed of an nkey`);
  assert.equal(refusal(creds("a.b.c", seed).split("\n\n")[0]), `${says}it has no seed`);
  assert.throws(() => readCredentials(`${folder}/missing`, client), {
    code: "nats.credentials_invalid",
    remedy: "config",
    message: `Cannot use the credentials file ${folder}/missing: there is no such file`,
  });
});

Deno.test("a rotated file is used for the next answer, a broken one not", () => {
  write({ token: "one" });
  const { authenticator } = readCredentials(path, client);
  assert.deepEqual(authenticator(), { auth_token: "one" });
  write({ token: "two" });
  assert.deepEqual(authenticator(), { auth_token: "two" });
  write("half a fi");
  assert.deepEqual(authenticator(), { auth_token: "two" });
  Deno.removeSync(path);
  assert.deepEqual(authenticator(), { auth_token: "two" });
});
