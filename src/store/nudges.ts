import type { Key } from "../flow/store.ts";
import { checkPrefix, isWithin, keyText } from "../flow/key.ts";

/** Keys a slow reader is told one by one; beyond that it is told to look at everything. */
const MOST_PENDING = 256;

/** Tells watchers in this process which keys may be new. Changes nobody has read yet are merged. */
export class Nudges {
  readonly #watches = new Set<Watch>();

  /** `null`: anything may have changed. */
  tell(key: Key | null): void {
    for (const watch of this.#watches) watch.push(key);
  }

  /**
   * Listens from this call on, so that a change between `watch` and the first read is not missed. Hears
   * of `prefix` itself and of everything below it, until `signal` fires or the reader stops.
   *
   * @throws {FlowError} `store.key_invalid`
   */
  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null> {
    checkPrefix(prefix);
    const watch = new Watch(prefix, () => {
      this.#watches.delete(watch);
      signal.removeEventListener("abort", end);
    });
    const end = () => watch.end();
    this.#watches.add(watch);
    if (signal.aborted) watch.end();
    else signal.addEventListener("abort", end, { once: true });
    return watch;
  }
}

type Result = IteratorResult<Key | null, undefined>;

class Watch implements AsyncIterableIterator<Key | null, undefined> {
  readonly #pending = new Map<string, Key | null>();
  readonly #readers: ((result: Result) => void)[] = [];
  #ended = false;

  constructor(readonly prefix: Key, readonly onEnd: () => void) {}

  push(key: Key | null): void {
    if (this.#ended || (key !== null && !isWithin(this.prefix, key))) return;
    const reader = this.#readers.shift();
    if (reader) {
      reader({ value: key, done: false });
    } else if (key !== null && this.#pending.size < MOST_PENDING) {
      if (!this.#pending.has(EVERYTHING)) this.#pending.set(keyText(key), key);
    } else {
      this.#pending.clear();
      this.#pending.set(EVERYTHING, null);
    }
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#pending.clear();
    for (const reader of this.#readers.splice(0)) reader({ value: undefined, done: true });
    this.onEnd();
  }

  next(): Promise<Result> {
    const first = this.#pending.entries().next();
    if (!first.done) {
      const [text, key] = first.value;
      this.#pending.delete(text);
      return Promise.resolve({ value: key, done: false });
    }
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  return(): Promise<Result> {
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** No key's text: those are JSON lists. */
const EVERYTHING = "";
