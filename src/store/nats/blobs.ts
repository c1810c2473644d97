import { InternalError } from "../../core/errors.ts";
import { logFor } from "../../core/log.ts";
import { type Channel, Unanswered } from "./channel.ts";
import type { Blob } from "./head.ts";
import { PARTS } from "./names.ts";

/** Parts on their way at a time; each may have the server's `max_payload`. */
const WINDOW = 4;

/**
 * Values too large for one message. Parts are written first, under an id of their own; the head that
 * names the id makes them the value. Ids are never used again, so one that was in a head and is not
 * any more can be removed at once; what never was in a head is left to the sweep.
 */
export class Blobs {
  readonly #channel: Channel;
  /** Ids that were seen in heads, by wire name, with the number of the head's message. */
  readonly #known = new Map<string, Map<string, number>>();
  /** Written by this process; a head may name them any moment. */
  readonly #undecided = new Set<string>();

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /**
   * Writes the parts. Call `decided` once it is known what became of the head.
   *
   * @param wire Wire name of the key.
   * @param headers Of every part.
   */
  async write(
    wire: string,
    value: Uint8Array,
    headers: readonly (readonly [string, string])[],
  ): Promise<Blob> {
    const size = this.#channel.largestValue;
    const count = Math.ceil(value.length / size);
    const id = crypto.randomUUID();
    this.#undecided.add(id);
    try {
      await inWindow(count, WINDOW, async (n) => {
        const data = value.subarray(n * size, (n + 1) * size);
        await this.#writePart({ subject: this.#subject(id, n, wire), data, headers });
      });
    } catch (cause) {
      this.#undecided.delete(id);
      throw cause;
    }
    return { id, parts: count, bytes: value.length };
  }

  /** Nobody will write a head with this blob any more; `lost`: nobody has. */
  async decided(wire: string, { id }: Blob, { lost }: { lost: boolean }): Promise<void> {
    this.#undecided.delete(id);
    if (lost) await this.#remove(wire, id);
  }

  /** `null` when parts are missing: the head that named the blob was replaced meanwhile. */
  async read(wire: string, { id, parts, bytes }: Blob): Promise<Uint8Array | null> {
    const found: (Uint8Array | undefined)[] = [];
    await inWindow(parts, WINDOW, async (n) => {
      found[n] = (await this.#channel.last(this.#subject(id, n, wire)))?.data;
    });
    if (found.includes(undefined)) return null;
    const value = new Uint8Array(bytes);
    let at = 0;
    for (const part of found) {
      if (at + part!.length > bytes) throw new InternalError("store.parts_missing");
      value.set(part!, at);
      at += part!.length;
    }
    return at === bytes ? value : null;
  }

  /** Notes what a head names, so that its parts can be removed when it is replaced. */
  note(wire: string, id: string, seq: number): void {
    const ids = this.#known.get(wire);
    if (ids) ids.set(id, seq);
    else this.#known.set(wire, new Map([[id, seq]]));
  }

  /** Removes what heads before this one named; the caller need not wait long, most keys have none. */
  async replaced(wire: string, seq: number): Promise<void> {
    const ids = this.#known.get(wire);
    if (!ids) return;
    // Two writes of one key may end in either order, so the newer one is not always the caller's.
    const newest = Math.max(seq, ...ids.values());
    const old = [...ids].filter(([, at]) => at !== newest);
    for (const [id] of old) ids.delete(id);
    if (ids.size === 0) this.#known.delete(wire);
    for (const [id] of old) await this.#remove(wire, id);
  }

  /** All blobs in the bucket, apart from those being written here. */
  async list(): Promise<{ wire: string; id: string }[]> {
    const { subjects } = this.#channel.bucket;
    const start = `${subjects}${PARTS}.`;
    const blobs = new Map<string, { wire: string; id: string }>();
    for (const subject of await this.#channel.subjects(`${start}>`)) {
      const [id, , ...wire] = subject.slice(start.length).split(".");
      if (!this.#undecided.has(id!)) blobs.set(id!, { id: id!, wire: wire.join(".") });
    }
    return [...blobs.values()];
  }

  async remove(wire: string, id: string): Promise<void> {
    const { subjects } = this.#channel.bucket;
    await this.#channel.purge(`${subjects}${PARTS}.${id}.*.${wire}`);
  }

  async #remove(wire: string, id: string): Promise<void> {
    try {
      await this.remove(wire, id);
    } catch (cause) {
      // The write itself is done; the sweep will find them.
      logFor("store").warning("Cannot remove the parts of a replaced value", { wire, cause });
    }
  }

  async #writePart(draft: Parameters<Channel["store"]>[0]): Promise<void> {
    try {
      await this.#channel.store(draft);
    } catch (cause) {
      if (!(cause instanceof Unanswered)) throw cause;
      // Nobody else writes this subject, so the same once more does no harm.
      await this.#channel.store(draft);
    }
  }

  #subject(id: string, n: number, wire: string): string {
    return `${this.#channel.bucket.subjects}${PARTS}.${id}.${n}.${wire}`;
  }
}

/** Calls `work` with 0 to `count - 1`, some at a time; ends with the first error. */
async function inWindow(
  count: number,
  window: number,
  work: (n: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  const workers = Array.from({ length: Math.min(window, count) }, worker);
  try {
    await Promise.all(workers);
  } finally {
    next = count;
    await Promise.allSettled(workers);
  }
}
