import type { CryptoKey, JSONWebKeySet, JWSHeaderParameters, JWTVerifyGetKey } from "jose";
import type { Clock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";

export interface KeySetOptions {
  readonly url: URL;
  readonly clock: Clock;
  readonly fetch?: (url: URL, init: RequestInit) => Promise<Response>;
}

type Token = Parameters<JWTVerifyGetKey>[1];
type LocalSet = (header: JWSHeaderParameters, token: Token) => Promise<CryptoKey>;

/** Keys are fetched again when older than this, milliseconds: a withdrawn key stops working. */
const MAX_AGE = 10 * 60_000;
/** An unknown key id fetches at most this often, so that made-up tokens cannot make us hammer. */
const COOL_DOWN = 30_000;
/** Pause after a fetch that failed. */
const FAILED_PAUSE = 1_000;
const TIMEOUT = 5_000;

/** The public keys of an issuer (RFC 7517), fetched when first needed and kept. */
export class KeySet {
  #keys: LocalSet | null = null;
  #fetchedAt = -Infinity;
  #failure: { at: number; error: FlowError } | null = null;
  #fetching: Promise<LocalSet> | null = null;

  constructor(readonly options: KeySetOptions) {}

  /** @throws {FlowError} `http.unavailable` without keys; jose's own errors for a bad token. */
  async find(header: JWSHeaderParameters, token: Token): Promise<CryptoKey> {
    const age = () => this.options.clock.monotonic() - this.#fetchedAt;
    const keys = this.#keys && age() < MAX_AGE ? this.#keys : await this.#refresh();
    try {
      return await keys(header, token);
    } catch (cause) {
      const { JWKSNoMatchingKey } = (await import("jose")).errors;
      if (!(cause instanceof JWKSNoMatchingKey) || age() < COOL_DOWN) throw cause;
      return await (await this.#refresh())(header, token);
    }
  }

  /** Requests that come while keys are on their way share one fetch. */
  #refresh(): Promise<LocalSet> {
    const now = this.options.clock.monotonic();
    if (this.#failure && now - this.#failure.at < FAILED_PAUSE) {
      return Promise.reject(this.#failure.error);
    }
    return this.#fetching ??= this.#fetch().finally(() => this.#fetching = null);
  }

  async #fetch(): Promise<LocalSet> {
    const { url, clock, fetch = globalThis.fetch } = this.options;
    const { createLocalJWKSet } = await import("jose");
    const abort = new AbortController();
    const timer = clock.after(TIMEOUT, () => abort.abort());
    try {
      const response = await fetch(url, {
        signal: abort.signal,
        redirect: "error",
        headers: { accept: "application/json, application/jwk-set+json" },
      });
      if (!response.ok) {
        await response.body?.cancel();
        throw new Error(`the server answered ${response.status}`);
      }
      const keys = createLocalJWKSet(await response.json() as JSONWebKeySet);
      this.#keys = keys;
      this.#fetchedAt = clock.monotonic();
      this.#failure = null;
      return keys;
    } catch (cause) {
      const error = new FlowError(
        "http.unavailable",
        `Cannot fetch the keys for user tokens from ${url.origin}${url.pathname}`,
        { cause },
      );
      this.#failure = { at: clock.monotonic(), error };
      throw error;
    } finally {
      timer.clear();
    }
  }
}
