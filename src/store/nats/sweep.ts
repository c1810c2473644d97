import type { Clock, Timer } from "../../core/clock.ts";
import { logFor } from "../../core/log.ts";
import type { Blobs } from "./blobs.ts";
import type { Channel, Message } from "./channel.ts";
import { decodeHead, HEAD_HEADER } from "./head.ts";
import { PARTS } from "./names.ts";

const INTERVAL = 600_000;

/** Parts that no head has named for this long were left by a process that died. */
const ORPHANED = 600_000;

/** How much later than its deadline an entry is removed: clocks of nodes differ. */
const REMOVAL_SLACK = 60_000;

/**
 * Removes what nobody will: parts left behind by processes that died and, in buckets whose server does
 * not do it, markers of deleted keys and expired entries. Ages are timed here, from when something was
 * first seen, since no clock is like another.
 */
export class Sweep {
  readonly #channel: Channel;
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #tombstoneTtl: number;
  /** Since when something has been useless, by what it is. */
  #seen = new Map<string, number>();
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor({ channel, blobs, clock, tombstoneTtl }: {
    channel: Channel;
    blobs: Blobs;
    clock: Clock;
    tombstoneTtl: number;
  }) {
    this.#channel = channel;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#tombstoneTtl = tombstoneTtl;
    this.#later();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.clear();
    await this.#running;
  }

  #later(): void {
    this.#timer = this.#clock.after(INTERVAL, () => {
      this.#running = this.#run().finally(() => this.#closed || this.#later());
    });
  }

  async #run(): Promise<void> {
    const before = this.#seen;
    this.#seen = new Map();
    try {
      await this.#sweepParts(before);
      if (!this.#channel.bucket.ttl) await this.#sweepEntries(before);
    } catch (cause) {
      logFor("store").debug("Cannot clean up a bucket now; trying again later", { cause });
    }
  }

  async #sweepParts(before: ReadonlyMap<string, number>): Promise<void> {
    const { subjects } = this.#channel.bucket;
    for (const { wire, id } of await this.#blobs.list()) {
      if (this.#closed) return;
      const head = await this.#channel.last(subjects + wire);
      if (head && decodeHead(head.header(HEAD_HEADER)).blob?.id === id) continue;
      if (this.#isDue(before, id, ORPHANED)) await this.#blobs.remove(wire, id);
    }
  }

  async #sweepEntries(before: ReadonlyMap<string, number>): Promise<void> {
    const { subjects } = this.#channel.bucket;
    for (const subject of await this.#channel.subjects(`${subjects}>`)) {
      if (this.#closed) return;
      if (subject.startsWith(`${subjects}${PARTS}.`)) continue;
      const last = await this.#channel.last(subject);
      if (!last || !this.#isUseless(last)) continue;
      if (this.#isDue(before, `${subject} ${last.seq}`, this.#tombstoneTtl)) {
        // Up to this message only: what was written since stays.
        await this.#channel.purge(subject, last.seq + 1);
      }
    }
  }

  #isUseless(message: Message): boolean {
    if (message.header("KV-Operation") || message.header("Nats-Marker-Reason")) return true;
    const { until } = decodeHead(message.header(HEAD_HEADER));
    return until !== undefined && until + REMOVAL_SLACK <= this.#clock.now();
  }

  #isDue(before: ReadonlyMap<string, number>, what: string, after: number): boolean {
    const now = this.#clock.monotonic();
    const since = before.get(what) ?? now;
    this.#seen.set(what, since);
    return now - since >= after;
  }
}
