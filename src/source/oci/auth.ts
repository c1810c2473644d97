import * as v from "valibot";
import type { Clock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { Answer } from "./answer.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import type { Login, Logins } from "./login.ts";
import type { Reference } from "./reference.ts";
import type { Transport } from "./transport.ts";

export type Action = "pull" | "pull,push";

export interface AuthOptions {
  readonly reference: Reference;
  readonly action: Action;
  readonly logins?: Logins;
  readonly transport: Transport;
  readonly clock: Clock;
}

const TokenAnswer = v.object({
  token: v.optional(v.string()),
  access_token: v.optional(v.string()),
  expires_in: v.optional(v.number()),
});

/** Bytes of a token server's answer. */
const LONGEST_ANSWER = 256 * 1024;
/** Seconds a token lives when its server does not say, by the token specification. */
const USUAL_LIFE = 60;
/** Milliseconds before its end that a token is no longer begun with. */
const MARGIN = 5_000;

interface Held {
  readonly header: string;
  /** On the monotonic clock. */
  readonly until: number;
}

/**
 * Proof for one repository of one registry: nothing until it is asked for, then what the challenge
 * wants, kept as long as it lasts. See https://distribution.github.io/distribution/spec/auth/token/
 */
export class Auth {
  readonly #options: AuthOptions;
  /** The last challenge that was met, to meet it ahead of time when the token has run out. */
  #challenge: Challenge | null = null;
  #held: Held | null = null;
  /** Parallel requests wait for one new proof. */
  #getting: Promise<Held> | null = null;

  constructor(options: AuthOptions) {
    this.#options = options;
  }

  /** The header to send with the next request. */
  async header(signal?: AbortSignal): Promise<string | undefined> {
    if (this.#held && this.#held.until > this.#options.clock.monotonic()) return this.#held.header;
    if (!this.#challenge) return undefined;
    return await this.#renew(this.#challenge, signal);
  }

  /**
   * Meets the challenge of a 401.
   *
   * @param sent The header that was refused.
   * @throws {FlowError} `source.auth_failed`, `source.credentials_invalid`, `source.unavailable`
   */
  async answer(refused: Answer, sent: string | undefined, signal?: AbortSignal): Promise<string> {
    // Another request may have been faster.
    if (this.#held && this.#held.header !== sent) return this.#held.header;
    const offered = parseChallenges(refused.headers.get("www-authenticate"));
    const challenge = offered.find(({ scheme }) => scheme === "bearer") ??
      offered.find(({ scheme }) => scheme === "basic");
    if (!challenge) throw this.failed("it asks for a kind of proof that is not known here");
    this.#challenge = challenge;
    this.#held = null;
    return await this.#renew(challenge, signal);
  }

  /** What a refusal is told as. */
  failed(why: string): FlowError {
    const { reference: { registry, name }, action, logins } = this.#options;
    const what = action === "pull" ? "read" : "write to";
    const message = `Cannot ${what} ${name}: ${registry} refuses, ${why}`;
    const file = '{"username": "…", "password": "…"} or a Docker config.json';
    return new FlowError("source.auth_failed", message, {
      hint: logins
        ? "check the credentials and their rights, and whether the repository exists"
        : `name a credentials file (${file}), and check that the repository exists`,
    });
  }

  #renew(challenge: Challenge, signal?: AbortSignal): Promise<string> {
    this.#getting ??= this.#prove(challenge, signal).finally(() => this.#getting = null);
    return this.#getting.then((held) => (this.#held = held).header);
  }

  async #prove(challenge: Challenge, signal?: AbortSignal): Promise<Held> {
    const { reference, logins } = this.#options;
    const login = await logins?.(reference) ?? null;
    if (login?.kind === "bearer") return lasting(`Bearer ${login.token}`);
    if (challenge.scheme === "bearer") return await this.#token(challenge, login, signal);
    if (login?.kind === "password") return lasting(basic(login.username, login.password));
    throw this.failed(login ? "it wants a user name and a password" : "it wants credentials");
  }

  async #token(challenge: Challenge, login: Login | null, signal?: AbortSignal): Promise<Held> {
    const { clock, transport } = this.#options;
    const url = this.#realm(challenge);
    const params = this.#tokenParams(challenge);
    let answer: Answer;
    if (login?.kind === "identity") {
      params.append("grant_type", "refresh_token");
      params.append("client_id", "flowgen");
      params.append("refresh_token", login.token);
      const body = new TextEncoder().encode(params.toString());
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      answer = await transport.send({ method: "POST", url, headers, body, signal });
    } else {
      for (const [key, value] of params) url.searchParams.append(key, value);
      const authorization = login?.kind === "password"
        ? basic(login.username, login.password)
        : undefined;
      answer = await transport.send({ method: "GET", url, authorization, signal });
    }
    if (answer.status !== 200) {
      await answer.cancel();
      throw this.failed(
        login
          ? `its token server does not accept the credentials (${answer.status})`
          : "it wants credentials",
      );
    }
    const begun = clock.monotonic();
    const { token, life } = this.#readToken(
      await answer.bytes(LONGEST_ANSWER, `the token of ${url.host}`),
    );
    return { header: `Bearer ${token}`, until: begun + life * 1_000 - MARGIN };
  }

  #readToken(bytes: Uint8Array): { token: string; life: number } {
    try {
      const { token, access_token, expires_in } = v.parse(
        TokenAnswer,
        JSON.parse(new TextDecoder().decode(bytes)),
      );
      // Anything else in a header would be refused by the platform, with the token in its message.
      if (/^[\x21-\x7e]+$/.test(token ?? access_token ?? "")) {
        return { token: (token ?? access_token)!, life: expires_in ?? USUAL_LIFE };
      }
    } catch {
      // Told below; what the server said may hold secrets.
    }
    throw this.failed("its token server gives no token");
  }

  #tokenParams({ params }: Challenge): URLSearchParams {
    const { reference, action } = this.#options;
    const wanted = new URLSearchParams();
    const service = params.get("service");
    if (service !== undefined) wanted.append("service", service);
    const own = `repository:${reference.repository}:${action}`;
    // A registry behind another name may know the repository by another name too.
    for (const scope of new Set([own, params.get("scope") ?? own])) wanted.append("scope", scope);
    return wanted;
  }

  /** Credentials go where the registry says, but not without TLS unless it has none itself. */
  #realm({ params }: Challenge): URL {
    const { origin } = this.#options.reference;
    const url = URL.parse(params.get("realm") ?? "");
    const fits = url?.protocol === "https:" ||
      (url?.protocol === "http:" && origin.startsWith("http:"));
    if (!url || !fits) throw this.failed("and it names no https address for tokens");
    url.username = url.password = "";
    return url;
  }
}

function lasting(header: string): Held {
  return { header, until: Infinity };
}

function basic(username: string, password: string): string {
  return `Basic ${new TextEncoder().encode(`${username}:${password}`).toBase64()}`;
}
