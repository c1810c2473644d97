import assert from "node:assert/strict";
import type { Login } from "./login.ts";
import { ARTIFACT, type Asked, bytesOf, TestRegistry } from "./testing.ts";

const PASSWORD: Login = { kind: "password", username: "me", password: "pä:ss" };
const REALM = "https://auth.example/token";

interface Server {
  readonly registry: TestRegistry;
  /** Requests to the token server. */
  readonly grants: Asked[];
  /** Tokens that are good. */
  readonly good: Set<string>;
}

/** A registry that wants a token, and gives `t1`, `t2`, … to whoever asks. */
function withTokens(answer: object = {}, realm = REALM): Server {
  const registry = new TestRegistry();
  registry.artifact("v1", [{ title: "a", bytes: bytesOf("1") }, {
    title: "b",
    bytes: bytesOf("2"),
  }]);
  const grants: Asked[] = [];
  const good = new Set<string>();
  registry.intercept = (asked) => {
    if (asked.url.host === "auth.example") {
      const token = `t${grants.push(asked)}`;
      good.add(token);
      return Response.json({ token, ...answer });
    }
    const token = asked.headers.get("authorization")?.replace("Bearer ", "");
    if (token !== undefined && good.has(token)) return null;
    return new Response("{}", {
      status: 401,
      headers: {
        "www-authenticate":
          `Bearer realm="${realm}",service="reg",scope="repository:acme/flows:pull"`,
      },
    });
  };
  return { registry, grants, good };
}

const as = (login: Login) => ({ logins: () => Promise.resolve(login) });

Deno.test("a challenge is met with a token for this repository, kept while it lasts", async () => {
  const { registry, grants } = withTokens({ expires_in: 300 });
  const source = registry.source(as(PASSWORD));
  const snapshot = await source.read(null);
  assert.equal(grants.length, 1);
  const { url, headers } = grants[0]!;
  assert.equal(url.search, "?service=reg&scope=repository%3Aacme%2Fflows%3Apull");
  assert.equal(headers.get("authorization"), `Basic ${bytesOf("me:pä:ss").toBase64()}`);

  registry.log.length = 0;
  await registry.clock.advance(290_000);
  assert.equal(await source.read(snapshot!.version), null);
  assert.deepEqual(registry.log, ["HEAD manifests/v1"]);
  // Near its end a new one is got first, so that nothing is refused.
  registry.log.length = 0;
  await registry.clock.advance(6_000);
  assert.equal(await source.read(snapshot!.version), null);
  assert.deepEqual(registry.log, ["GET /token", "HEAD manifests/v1"]);
});

Deno.test("a token without an end is taken to last a minute, and one is got for all at once", async () => {
  const { registry, grants, good } = withTokens();
  const source = registry.source();
  const snapshot = await source.read(null);
  assert.equal(grants[0]!.headers.get("authorization"), null);
  await registry.clock.advance(54_000);
  await source.read(snapshot!.version);
  assert.equal(grants.length, 1);
  // Revoked early: both downloads meet the refusal, and one new token serves both.
  const layers = ["3", "4"].map((text) => ({ title: text, bytes: bytesOf(text) }));
  const version = registry.artifact("v1", layers);
  const serve = registry.intercept;
  registry.intercept = (asked) => {
    if (asked.url.pathname.includes("/blobs/")) good.delete("t1");
    return serve(asked);
  };
  assert.equal((await source.read(snapshot!.version))!.version, version);
  assert.equal(grants.length, 2);
});

Deno.test("who hears late that a token has gone uses the one that another got", async () => {
  const { registry, grants, good } = withTokens();
  const source = registry.source();
  const snapshot = await source.read(null);
  registry.artifact("v1", ["3", "4"].map((text) => ({ title: text, bytes: bytesOf(text) })));
  const serve = registry.intercept;
  const renewed = Promise.withResolvers<void>();
  registry.intercept = async (asked) => {
    if (!asked.url.pathname.includes("/blobs/")) return serve(asked);
    good.delete("t1");
    const answer = await serve(asked);
    // The first one has its download before the second one hears.
    if (answer === null) renewed.resolve();
    else if (asked === blobsAsked()[1]) await renewed.promise;
    return answer;
  };
  const blobsAsked = () =>
    registry.asked.filter(({ url }) => url.pathname.includes("/blobs/")).slice(2);
  assert.ok(await source.read(snapshot!.version));
  assert.equal(grants.length, 2);
});

Deno.test("an identity token is exchanged for an access token", async () => {
  const { registry, grants } = withTokens({ token: undefined, access_token: "t1" });
  assert.ok(await registry.source(as({ kind: "identity", token: "id" })).read(null));
  const { method, body, headers } = grants[0]!;
  assert.equal(method, "POST");
  assert.equal(headers.get("content-type"), "application/x-www-form-urlencoded");
  assert.deepEqual([...new URLSearchParams(new TextDecoder().decode(body as Uint8Array))], [
    ["service", "reg"],
    ["scope", "repository:acme/flows:pull"],
    ["grant_type", "refresh_token"],
    ["client_id", "flowgen"],
    ["refresh_token", "id"],
  ]);
});

Deno.test("credentials are sent when asked for only, and read again at each challenge", async () => {
  const registry = new TestRegistry();
  const version = registry.artifact("v1", []);
  let asked = 0;
  const logins = () => {
    asked++;
    return Promise.resolve({ ...PASSWORD, password: `p${asked}` } as Login);
  };
  const source = registry.source({ logins });
  assert.ok(await source.read(null));
  assert.equal(asked, 0);
  let good = "p1";
  registry.intercept = ({ headers }) =>
    headers.get("authorization") === `Basic ${btoa(`me:${good}`)}`
      ? null
      : new Response(null, { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } });
  assert.equal(await source.read(version), null);
  // Known now, so it goes with the first request.
  registry.log.length = 0;
  assert.equal(await source.read(version), null);
  assert.equal(registry.log.length, 1);
  good = "p2";
  assert.equal(await source.read(version), null);
  assert.equal(asked, 2);
});

Deno.test("who is refused is told so, without the credentials", async () => {
  const registry = new TestRegistry();
  const refuse = (status: number, challenge: string) => () =>
    new Response(null, { status, headers: { "www-authenticate": challenge } });
  const failed = (why: string, hint: string) => ({
    code: "source.auth_failed",
    message: `Cannot read ${ARTIFACT}: registry.example:5000 refuses, ${why}`,
    hint,
  });
  const check = "check the credentials and their rights, and whether the repository exists";
  const name = 'name a credentials file ({"username": "…", "password": "…"} or a Docker ' +
    "config.json), and check that the repository exists";
  const read = (login?: Login) => registry.source(login ? as(login) : {}).read(null);

  registry.intercept = refuse(401, 'Basic realm="x"');
  await assert.rejects(() => read(), failed("it wants credentials", name));
  await assert.rejects(
    () => read(PASSWORD),
    failed("it does not accept the credentials (401)", check),
  );
  await assert.rejects(
    () => read({ kind: "identity", token: "id" }),
    failed("it wants a user name and a password", check),
  );
  registry.intercept = refuse(403, "");
  await assert.rejects(() => read(), failed("there is no right to do so (403)", name));
  registry.intercept = refuse(401, "Negotiate");
  await assert.rejects(
    () => read(),
    failed("it asks for a kind of proof that is not known here", name),
  );

  const tokens = withTokens();
  const wants = tokens.registry.intercept;
  tokens.registry.intercept = (asked) =>
    asked.url.host === "auth.example" ? new Response("no", { status: 401 }) : wants(asked);
  await assert.rejects(
    () => tokens.registry.source(as(PASSWORD)).read(null),
    failed("its token server does not accept the credentials (401)", check),
  );
});

Deno.test("credentials do not leave TLS, whatever address a challenge names", async () => {
  for (const realm of ["http://auth.example/token", "nonsense"]) {
    const { registry, grants } = withTokens({}, realm);
    await assert.rejects(() => registry.source(as(PASSWORD)).read(null), {
      code: "source.auth_failed",
      message: /and it names no https address for tokens$/,
    });
    assert.equal(grants.length, 0);
  }
});

Deno.test("a token that could not be a header is no token", async () => {
  const { registry } = withTokens({ token: "a\nb" });
  await assert.rejects(() => registry.source().read(null), {
    code: "source.auth_failed",
    message: /its token server gives no token$/,
  });
});
