import assert from "node:assert/strict";
import { FlowError } from "../../core/errors.ts";
import type { Endpoints, UserAuth } from "../../flow/http.ts";
import { findingsOf } from "../core/testing.ts";
import { httpEndpoint } from "./http_endpoint.ts";
import { errorOf, startEndpoint as start } from "./testing.ts";

async function credentialsFile(content: unknown): Promise<string> {
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

const BOTH = { bearer_auth: "tok", basic_auth: { username: "ada", password: "pä:ss" } };
const basic = (text: string) => `Basic ${new TextEncoder().encode(text).toBase64()}`;

Deno.test("credentials from a file are asked for before anything is read", async () => {
  const credentials_path = await credentialsFile(BOTH);
  const { ask } = await start({ method: "POST", credentials_path });
  await Deno.remove(credentials_path); // read once
  const status = async (authorization?: string) =>
    (await ask(authorization ? { headers: { authorization } } : {})).status;
  for (const good of ["Bearer tok", "bearer tok", basic("ada:pä:ss")]) {
    assert.equal(await status(good), 204, good);
  }
  for (
    const bad of [
      undefined,
      "tok",
      "Bearer",
      "Bearer to",
      "Bearer tokk",
      "Bearer TOK",
      "Bearer toktok",
      "Basic tok",
      "Basic !",
      basic("ada:"),
      basic("ada:pä:ss "),
    ]
  ) {
    assert.equal(await status(bad), 401, bad);
  }
  const refused = await ask({ body: "{", headers: { "content-type": "application/json" } });
  assert.equal(
    refused.headers.get("www-authenticate"),
    'Bearer, Basic realm="flowgen", charset="UTF-8"',
  );
  assert.equal((await errorOf(refused)).code, "http.unauthorized");
});

Deno.test("the server's credentials hold for endpoints without their own", async () => {
  const credentialsPath = await credentialsFile({ bearer_auth: "all" });
  const own = await credentialsFile({ bearer_auth: "own" });
  const common = await start({}, { endpoints: { credentialsPath } });
  const special = await start({ credentials_path: own }, { endpoints: { credentialsPath } });
  const headers = { authorization: "Bearer all" };
  assert.equal((await common.ask({ headers })).status, 204);
  assert.equal((await special.ask({ headers })).status, 401);
  await Deno.remove(credentialsPath);
  await Deno.remove(own);
});

Deno.test("a credentials file that does not help keeps the endpoint from starting", async () => {
  for (
    const content of [{}, { bearer_auth: "" }, { basic_auth: { username: "a" } }, "secret {", []]
  ) {
    const credentials_path = await credentialsFile(content);
    await assert.rejects(() => start({ credentials_path }), (error: FlowError) => {
      assert.equal(error.code, "http.credentials_invalid");
      assert.doesNotMatch(error.message + error.cause, /secret/);
      return true;
    });
    await Deno.remove(credentials_path);
  }
  await assert.rejects(() => start({ credentials_path: "/nowhere/x.json" }), {
    code: "http.credentials_invalid",
    message: "Cannot use the credentials file /nowhere/x.json: cannot read it",
  });
});

Deno.test("a user token is checked, and its user travels in the meta", async () => {
  const auth: UserAuth = {
    async verify(token) {
      if (token === "down") throw new FlowError("http.unavailable", "no keys at https://id");
      if (token !== "good") throw new FlowError("http.unauthorized", "The token has expired");
      return { user_id: "ada", claims: { sub: "ada" } };
    },
  };
  const { ask, events } = await start({ auth: { required: true } }, { endpoints: { auth } });
  const askAs = (token: string) => ask({ headers: { authorization: `Bearer ${token}` } });

  assert.equal((await askAs("good")).status, 204);
  const { meta } = events[0]!;
  assert.deepEqual(meta.auth, { user_id: "ada", claims: { sub: "ada" } });
  assert.ok(meta.correlation_id);

  assert.equal((await ask()).headers.get("www-authenticate"), "Bearer");
  const bad = await askAs("old");
  assert.equal(bad.headers.get("www-authenticate"), 'Bearer error="invalid_token"');
  assert.deepEqual((await errorOf(bad)).message, "The token has expired");
  assert.equal((await askAs("down")).status, 503);
  assert.equal(events.length, 1);

  const open = await start({}, { endpoints: { auth } });
  assert.equal((await open.ask()).status, 204, "not required: not looked at");
});

Deno.test("a user's token stands in for the server's credentials: both come in one header", async () => {
  const credentialsPath = await credentialsFile({ bearer_auth: "all" });
  const verify = (user_id: string) => Promise.resolve({ user_id, claims: {} });
  const endpoints = { credentialsPath, auth: { verify } };
  const { ask, events } = await start({ auth: { required: true } }, { endpoints });
  assert.equal((await ask({ headers: { authorization: "Bearer ada" } })).status, 204);
  assert.deepEqual(events[0]!.meta.auth, { user_id: "ada", claims: {} });
  await Deno.remove(credentialsPath);
});

Deno.test("an endpoint that asks for both credentials and a user token is refused", async () => {
  const endpoints: Endpoints = {
    enabled: true,
    credentialsPath: undefined,
    auth: { verify: () => assert.fail() },
    add: () => assert.fail(),
  };
  const both = { endpoint: "/in", credentials_path: "/x.json", auth: { required: true } };
  assert.deepEqual(await findingsOf(httpEndpoint, both, { endpoints }), [
    "config.auth_conflict Cannot ask for credentials and a user token: both come in the header " +
    "Authorization",
  ]);
  const one = { ...both, auth: { required: false } };
  assert.deepEqual(await findingsOf(httpEndpoint, one, { endpoints }), []);
});

Deno.test("an endpoint needs a server, and an auth provider when it requires users", async () => {
  await assert.rejects(() => start({}, { endpoints: { enabled: false } }), {
    code: "config.http_server_disabled",
    hint: "set http_server.enabled to true in config.yaml",
  });
  await assert.rejects(() => start({ auth: { required: true } }), { code: "config.auth_missing" });
});
