import assert from "node:assert/strict";
import { fileLogins, type Login } from "./login.ts";
import { parseReference } from "./reference.ts";

async function login(content: unknown, artifact: string): Promise<Login | null> {
  const file = await Deno.makeTempFile();
  try {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    await Deno.writeTextFile(file, text);
    return await fileLogins(file)(parseReference(artifact));
  } catch (cause) {
    // The path differs from run to run.
    if (cause instanceof Error) cause.message = cause.message.replace(file, "FILE");
    throw cause;
  } finally {
    await Deno.remove(file);
  }
}

const AUTH = btoa("me:pass:word");
const ME: Login = { kind: "password", username: "me", password: "pass:word" };

Deno.test("a credentials file with username and password serves any registry", async () => {
  assert.deepEqual(await login({ username: "me", password: "pass:word" }, "ghcr.io/a/b"), ME);
});

Deno.test("a Docker config.json serves the registries it names, by host", async () => {
  const entry = { auth: AUTH };
  const cases: [string, string, boolean][] = [
    ["ghcr.io", "ghcr.io/a/b", true],
    ["https://ghcr.io", "ghcr.io/a/b", true],
    ["https://ghcr.io/v2/", "ghcr.io/a/b", true],
    ["GHCR.io", "ghcr.io/a/b", true],
    ["ghcr.io:443", "ghcr.io/a/b", false],
    ["evil-ghcr.io", "ghcr.io/a/b", false],
    ["https://index.docker.io/v1/", "acme/flows", true],
    ["docker.io", "alpine", true],
    ["index.docker.io", "docker.io/a/b", true],
    ["localhost:5000", "localhost:5000/a", true],
    ["localhost:5000", "localhost:5001/a", false],
    ["quay.io/acme", "quay.io/acme/flows", true],
    ["quay.io/acme", "quay.io/acme2/flows", false],
  ];
  for (const [key, artifact, fits] of cases) {
    const found = await login({ auths: { [key]: entry } }, artifact);
    assert.deepEqual(found, fits ? ME : null, `${key} for ${artifact}`);
  }
});

Deno.test("of several entries the one for the nearest folder is taken", async () => {
  const auths = {
    "quay.io": { auth: btoa("all:1") },
    "quay.io/acme/team": { auth: AUTH },
    "quay.io/acme": { auth: btoa("acme:1") },
  };
  assert.deepEqual(await login({ auths }, "quay.io/acme/team/flows"), ME);
});

Deno.test("entries hold names, identity tokens or registry tokens", async () => {
  const of = (entry: object) => login({ auths: { "a.io": entry } }, "a.io/b");
  assert.deepEqual(await of({ username: "me", password: "pass:word" }), ME);
  assert.deepEqual(await of({ auth: AUTH, identitytoken: "id" }), {
    kind: "identity",
    token: "id",
  });
  assert.deepEqual(await of({ registrytoken: "t" }), { kind: "bearer", token: "t" });
  assert.equal(await of({}), null);
});

Deno.test("a credential helper cannot be run, and the error says what to write instead", async () => {
  const expected = {
    code: "source.credentials_invalid",
    message: "Cannot use the credentials file FILE: those of a.io are kept by the helper " +
      "docker-credential-gcloud, and programs are not started from here",
    hint: 'put {"auths": {"a.io": {"auth": "…"}}} into the file, the base64 of user:password, or ' +
      "use a file with username and password",
  };
  await assert.rejects(() => login({ credHelpers: { "a.io": "gcloud" } }, "a.io/b"), expected);
  await assert.rejects(
    () => login({ auths: { "a.io": {} }, credsStore: "gcloud" }, "a.io/b"),
    expected,
  );
  const both = { auths: { "a.io": { auth: AUTH } }, credHelpers: { "a.io": "gcloud" } };
  assert.deepEqual(await login(both, "a.io/b"), ME);
  // Docker would ask the store, but has left no entry, so there is nothing in it.
  assert.equal(await login({ auths: {}, credsStore: "desktop" }, "a.io/b"), null);
});

Deno.test("a credentials file that cannot be used is told without its content", async () => {
  const invalid = (problem: string) => ({
    code: "source.credentials_invalid",
    message: `Cannot use the credentials file FILE: ${problem}`,
    hint: 'write {"username": "…", "password": "…"}, or a Docker config.json with "auths"',
  });
  await assert.rejects(() => login("{secret", "a.io/b"), invalid("it is not valid JSON"));
  await assert.rejects(
    () => login({ token: "secret" }, "a.io/b"),
    invalid("its fields are not as expected"),
  );
  await assert.rejects(
    () => login({ auths: { "a.io": { auth: "c2VjcmV0" } } }, "a.io/b"),
    invalid('"auth" of a.io is not the base64 of user:password'),
  );
});
