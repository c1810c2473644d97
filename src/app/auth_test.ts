import assert from "node:assert/strict";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { TestClock } from "../core/clock.ts";
import { createUserAuth } from "./auth.ts";

const NOW = "2030-01-01T12:00:00Z";
const SECRET = "a-shared-secret-of-some-length-1";
const seconds = Date.parse(NOW) / 1000;

function token(claims: Record<string, unknown>, alg = "HS256", secret = SECRET): Promise<string> {
  return new SignJWT({ sub: "ada", exp: seconds + 300, ...claims })
    .setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret));
}

const hmac = (more: Record<string, string> = {}) =>
  createUserAuth({ type: "jwt", secret: SECRET, ...more }, { clock: new TestClock(NOW) });

const unauthorized = { code: "http.unauthorized" };

Deno.test("a token of the shared secret names its user", async () => {
  const user = await hmac().verify(await token({ team: "x" }));
  assert.equal(user.user_id, "ada");
  assert.deepEqual(user.claims, { sub: "ada", team: "x", exp: seconds + 300 });
});

Deno.test("another secret, another algorithm and no algorithm are refused", async () => {
  await assert.rejects(hmac().verify(await token({}, "HS256", "x".repeat(32))), unauthorized);
  await assert.rejects(hmac().verify(await token({}, "HS512", SECRET.repeat(2))), unauthorized);
  const none = `${btoa('{"alg":"none"}')}.${btoa('{"sub":"ada","exp":9999999999}')}.`;
  await assert.rejects(hmac().verify(none.replaceAll("=", "")), unauthorized);
  await assert.rejects(hmac().verify("rubbish"), unauthorized);
});

Deno.test("a token must expire, and may be a minute late", async () => {
  await assert.rejects(hmac().verify(await token({ exp: undefined })), unauthorized);
  await assert.rejects(hmac().verify(await token({ exp: seconds - 61 })), {
    ...unauthorized,
    message: "The token has expired",
  });
  assert.ok(await hmac().verify(await token({ exp: seconds - 59 })));
});

Deno.test("audience and issuer count where they are configured", async () => {
  const auth = hmac({ audience: "flows", issuer: "https://id" });
  assert.ok(await auth.verify(await token({ aud: ["x", "flows"], iss: "https://id" })));
  await assert.rejects(auth.verify(await token({ aud: "x", iss: "https://id" })), unauthorized);
  await assert.rejects(auth.verify(await token({ aud: "flows" })), unauthorized);
});

Deno.test("the user id comes from the configured claim and must be text", async () => {
  const auth = hmac({ user_id_claim: "email" });
  assert.equal((await auth.verify(await token({ email: "a@b" }))).user_id, "a@b");
  await assert.rejects(auth.verify(await token({ email: 7 })), unauthorized);
  await assert.rejects(auth.verify(await token({})), unauthorized);
  await assert.rejects(hmac({ user_id_claim: "toString" }).verify(await token({})), unauthorized);
});

Deno.test("auth types that are not there yet say so", () => {
  for (const type of ["oidc", "session"] as const) {
    assert.throws(() => createUserAuth({ type }), {
      code: "config.not_available",
      message: `auth type ${type} is not available in this version`,
    });
  }
});

Deno.test("keys must come over HTTPS, or from this machine", () => {
  const make = (jwks_url?: string) => createUserAuth({ type: "jwt", jwks_url });
  for (const url of ["http://id.example.com/keys", "http://localhost.example.com/", "nonsense"]) {
    assert.throws(() => make(url), { code: "config.auth_invalid" });
  }
  assert.throws(() => make(), { code: "config.auth_invalid" });
  assert.ok(make("http://127.0.0.1:1234/keys"));
  assert.ok(make("https://id.example.com/keys"));
});

/** An issuer whose keys turn, and a count of how often it was asked. */
async function issuer(alg: "RS256" | "ES256" = "ES256") {
  const clock = new TestClock(NOW);
  const state = { fetches: 0, down: false, status: 200, keys: [] as object[] };
  const turnKey = async (kid: string) => {
    const pair = await generateKeyPair(alg);
    state.keys = [{ ...await exportJWK(pair.publicKey), kid, alg }];
    return async (exp = 86_400) =>
      await new SignJWT({ sub: "ada", exp: seconds + exp })
        .setProtectedHeader({ alg, kid }).sign(pair.privateKey);
  };
  const auth = createUserAuth({ type: "jwt", jwks_url: "https://id/keys?s=secret" }, {
    clock,
    fetch: async (_url, { signal }) => {
      state.fetches++;
      if (state.down) {
        await new Promise((_, reject) =>
          signal!.addEventListener("abort", () => reject(signal!.reason), { once: true })
        );
      }
      return Response.json({ keys: state.keys }, { status: state.status });
    },
  });
  return { clock, state, turnKey, auth };
}

Deno.test("keys are fetched once for many tokens", async () => {
  for (const alg of ["RS256", "ES256"] as const) {
    const { auth, turnKey, state } = await issuer(alg);
    const sign = await turnKey("one");
    const jwt = await sign();
    const users = await Promise.all([auth.verify(jwt), auth.verify(jwt), auth.verify(jwt)]);
    assert.deepEqual(users.map((user) => user.user_id), ["ada", "ada", "ada"]);
    assert.equal(state.fetches, 1);
  }
});

Deno.test("an unknown key id fetches again, but not more often than every 30 seconds", async () => {
  const { auth, turnKey, state, clock } = await issuer();
  await auth.verify(await (await turnKey("one"))());
  const second = await (await turnKey("two"))();
  await assert.rejects(auth.verify(second), unauthorized);
  assert.equal(state.fetches, 1);
  await clock.advance(30_000);
  assert.equal((await auth.verify(second)).user_id, "ada");
  assert.equal(state.fetches, 2);
});

Deno.test("keys are fetched again after ten minutes, so that a withdrawn one stops working", async () => {
  const { auth, turnKey, state, clock } = await issuer();
  const first = await (await turnKey("one"))();
  await auth.verify(first);
  await turnKey("two");
  await clock.advance(10 * 60_000);
  await assert.rejects(auth.verify(first), unauthorized);
  assert.equal(state.fetches, 2);
});

Deno.test("without keys nobody is told that the token is bad", async () => {
  const { auth, turnKey, state, clock } = await issuer();
  const jwt = await (await turnKey("one"))();
  const unavailable = {
    code: "http.unavailable",
    message: "Cannot fetch the keys for user tokens from https://id/keys",
  };
  state.status = 500;
  await assert.rejects(auth.verify(jwt), unavailable);
  await assert.rejects(auth.verify(jwt), unavailable);
  assert.equal(state.fetches, 1, "a failure is remembered for a moment");

  await clock.advance(1_000);
  state.status = 200;
  state.down = true;
  const waiting = assert.rejects(auth.verify(jwt), unavailable);
  await clock.advance(5_000);
  await waiting;

  await clock.advance(1_000);
  state.down = false;
  assert.equal((await auth.verify(jwt)).user_id, "ada");
  assert.equal(clock.pending, 0);
});

Deno.test("a token signed with HS256 and the public key as secret is refused", async () => {
  const { auth, turnKey, state } = await issuer();
  await turnKey("one");
  const forged = await new SignJWT({ sub: "eve", exp: seconds + 300 })
    .setProtectedHeader({ alg: "HS256", kid: "one" })
    .sign(new TextEncoder().encode(JSON.stringify(state.keys[0])));
  await assert.rejects(auth.verify(forged), unauthorized);
});
