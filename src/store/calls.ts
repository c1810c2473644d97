import type { FlowError } from "../core/errors.ts";
import { checkKey } from "../flow/key.ts";
import { type Key, storeClosed } from "../flow/store.ts";

/** The calls of a store that are under way. After `close` there are no new ones. */
export class Calls {
  readonly #closed = new AbortController();
  #active = 0;
  #onIdle: (() => void) | undefined;

  /** @param fault What the driver's client threw, as an error of ours. */
  constructor(readonly fault: (cause: unknown) => FlowError) {}

  /** Fires when the store closes. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** Works on a checked copy of the key: the caller may go on changing its own. */
  with<T>(key: Key, work: (own: Key) => Promise<T>): Promise<T> {
    return this.track(() => {
      checkKey(key);
      return work([...key]);
    });
  }

  /** @throws {FlowError} `store.closed`, and what `fault` makes of failures */
  async track<T>(work: () => Promise<T>): Promise<T> {
    this.assertOpen();
    this.#active++;
    try {
      return await work();
    } catch (cause) {
      throw this.fault(cause);
    } finally {
      if (--this.#active === 0) this.#onIdle?.();
    }
  }

  /** @throws {FlowError} `store.closed` */
  assertOpen(): void {
    if (this.closed.aborted) throw storeClosed();
  }

  /** Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#closed.abort();
    if (this.#active > 0) await new Promise<void>((resolve) => this.#onIdle = resolve);
  }
}
