import { type Clock, systemClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import type { Json } from "../flow/event.ts";
import type { UserAuth } from "../flow/http.ts";
import { KeySet, type KeySetOptions } from "./jwks.ts";

/** `http_server.auth` for `type: jwt`. With both, `secret` wins. */
export interface JwtAuthConfig {
  readonly type: "jwt";
  /** For tokens signed with HS256. */
  readonly secret?: string;
  /** For tokens signed with RS256, RS384, RS512, ES256 or ES384. */
  readonly jwks_url?: string;
  readonly audience?: string;
  readonly issuer?: string;
  /** Claim that names the user; `sub` when left out. */
  readonly user_id_claim?: string;
}

export type UserAuthConfig =
  | JwtAuthConfig
  | { readonly type: "oidc" | "session"; readonly [key: string]: unknown };

export interface UserAuthOptions {
  readonly clock?: Clock;
  readonly fetch?: KeySetOptions["fetch"];
}

const ASYMMETRIC = ["RS256", "RS384", "RS512", "ES256", "ES384"];

/** How far clocks may differ, seconds. */
const LEEWAY = 60;

/**
 * Checks the tokens of users. A token is good when its signature, `exp`, `nbf` and, where configured,
 * `aud` and `iss` are, and it names a user.
 *
 * @throws {FlowError} `config.not_available`, `config.auth_invalid`
 */
export function createUserAuth(
  config: UserAuthConfig,
  { clock = systemClock, fetch }: UserAuthOptions = {},
): UserAuth {
  if (config.type !== "jwt") {
    throw new FlowError(
      "config.not_available",
      `auth type ${config.type} is not available in this version`,
      { hint: 'use type: jwt with "jwks_url", or with "secret"' },
    );
  }
  const { secret, jwks_url, audience, issuer, user_id_claim = "sub" } = config as JwtAuthConfig;
  const findKey = secret ? fixedKey(secret) : remoteKeys(jwks_url, clock, fetch);
  const algorithms = secret ? ["HS256"] : ASYMMETRIC;
  return {
    async verify(token) {
      const jose = await import("jose");
      let claims: Record<string, unknown>;
      try {
        const verified = await jose.jwtVerify(token, findKey, {
          algorithms,
          audience,
          issuer,
          clockTolerance: LEEWAY,
          currentDate: new Date(clock.now()),
          requiredClaims: ["exp"],
        });
        claims = verified.payload;
      } catch (cause) {
        if (cause instanceof FlowError) throw cause;
        const message = cause instanceof jose.errors.JWTExpired
          ? "The token has expired"
          : "The token is not valid";
        throw new FlowError("http.unauthorized", message, { cause });
      }
      const user = Object.hasOwn(claims, user_id_claim) ? claims[user_id_claim] : undefined;
      if (typeof user !== "string" || user === "") {
        throw new FlowError("http.unauthorized", `The token has no claim "${user_id_claim}"`);
      }
      return { user_id: user, claims: claims as Json };
    },
  };
}

function fixedKey(secret: string): () => Uint8Array {
  const key = new TextEncoder().encode(secret);
  return () => key;
}

function remoteKeys(
  url: string | undefined,
  clock: Clock,
  fetch: KeySetOptions["fetch"],
): KeySet["find"] {
  if (!url) {
    throw new FlowError("config.auth_invalid", "auth type jwt needs a secret or a jwks_url");
  }
  const keys = new KeySet({ url: checkedUrl(url), clock, fetch });
  return keys.find.bind(keys);
}

/** Whoever can change the keys on their way can sign tokens, so they come over HTTPS. */
function checkedUrl(text: string): URL {
  const url = URL.parse(text);
  const local = url !== null && LOOPBACK.test(url.hostname);
  if (url?.protocol === "https:" || (url?.protocol === "http:" && local)) return url;
  throw new FlowError("config.auth_invalid", "auth.jwks_url must be an https URL", {
    hint: "http is accepted for localhost only",
  });
}

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;
