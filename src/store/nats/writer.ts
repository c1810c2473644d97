import { FlowError } from "../../core/errors.ts";
import type { Revision } from "../../flow/store.ts";
import type { Blobs } from "./blobs.ts";
import { type Channel, EXPECTED_HEADER, Unanswered } from "./channel.ts";
import { type Blob, decodeHead, encodeHead, encodeRevision, HEAD_HEADER } from "./head.ts";

/**
 * How much later than an entry's deadline the server removes it. What is visible goes by the injected
 * clock, and the server's must not be ahead of it.
 */
const REMOVAL_SLACK = 60_000;

/** What would go in a hundred years may stay. */
const LONGEST_TTL = 100 * 365 * 86_400_000;

/** Attempts at a write that nobody answers; each takes seconds. */
const MOST_ATTEMPTS = 3;

type Headers = readonly (readonly [string, string])[];

/** A value ready to be written under its key, once. */
export interface Draft extends AsyncDisposable {
  /**
   * Writes over the message with this number (0: the key was never written or its marker is gone), or
   * over whatever there is. `null` when it is another one.
   *
   * @throws {FlowError} `store.unavailable` when it is not known what became of it.
   */
  write(expected: number | undefined): Promise<Revision | null>;
}

/** Writes heads and markers so that each is known to have happened or not. */
export class Writer {
  readonly #channel: Channel;
  readonly #blobs: Blobs;
  readonly #tombstoneTtl: number;
  readonly #prefix = crypto.randomUUID();
  #ops = 0;

  constructor(channel: Channel, blobs: Blobs, tombstoneTtl: number) {
    this.#channel = channel;
    this.#blobs = blobs;
    this.#tombstoneTtl = tombstoneTtl;
  }

  /** Writes the parts of a large value; the head is written by the draft. */
  async draft({ wire, value, until, ttl }: {
    wire: string;
    value: Uint8Array;
    until: number | undefined;
    ttl: number | undefined;
  }): Promise<Draft> {
    const removal = ttl === undefined ? [] : this.#removal(ttl + REMOVAL_SLACK);
    const blob = value.length <= this.#channel.largestValue
      ? undefined
      : await this.#blobs.write(wire, value, removal);
    // An older version without a deadline would come to light when this one is removed.
    const alone: Headers = removal.length > 0 ? [...removal, ["Nats-Rollup", "sub"]] : [];
    let outcome: "lost" | "won" | "open" = "lost";
    return {
      write: async (expected) => {
        const op = this.#newOp();
        const data = blob ? new Uint8Array() : value;
        const headers: Headers = [[HEAD_HEADER, encodeHead({ op, until, blob })], ...alone];
        outcome = "open";
        const seq = await this.#store({ wire, data, headers, op, expected });
        outcome = seq === null ? "lost" : "won";
        if (seq === null) return null;
        await this.#written(wire, seq, blob);
        return encodeRevision(seq, until);
      },
      [Symbol.asyncDispose]: async () => {
        if (blob) await this.#blobs.decided(wire, blob, { lost: outcome === "lost" });
      },
    };
  }

  /** Puts the marker of a deleted key in place of the message with this number. */
  async remove(wire: string, expected: number): Promise<boolean> {
    const op = this.#newOp();
    const headers: Headers = [
      ["KV-Operation", "PURGE"],
      ["Nats-Rollup", "sub"],
      [HEAD_HEADER, encodeHead({ op, until: undefined, blob: undefined })],
      ...this.#removal(this.#tombstoneTtl),
    ];
    const seq = await this.#store({ wire, data: new Uint8Array(), headers, op, expected });
    if (seq !== null) await this.#blobs.replaced(wire, seq);
    return seq !== null;
  }

  async #written(wire: string, seq: number, blob: Blob | undefined): Promise<void> {
    if (blob) this.#blobs.note(wire, blob.id, seq);
    await this.#blobs.replaced(wire, seq);
  }

  async #store({ wire, data, headers, op, expected }: {
    wire: string;
    data: Uint8Array;
    headers: Headers;
    op: string;
    expected: number | undefined;
  }): Promise<number | null> {
    const subject = this.#channel.bucket.subjects + wire;
    const all: Headers = expected === undefined
      ? headers
      : [...headers, [EXPECTED_HEADER, String(expected)]];
    for (let attempt = 1;; attempt++) {
      try {
        const seq = await this.#channel.store({ subject, data, headers: all });
        if (seq !== null || attempt === 1) return seq;
        // What came first may have been our own attempt that nobody answered.
        const first = await this.#outcome(subject, op, expected!);
        // Something did come, so who shows nothing is no leader any more, or it has gone again.
        if (first === undefined) throw unknown(undefined);
        return first;
      } catch (cause) {
        if (!(cause instanceof Unanswered)) throw cause;
        const seq = expected === undefined
          ? await this.#outcomeOfPut(subject, op, cause)
          : await this.#outcome(subject, op, expected);
        if (seq !== undefined) return seq;
        // Nothing came after the expected message, so the same attempt cannot happen twice.
        if (attempt === MOST_ATTEMPTS) throw unknown(cause);
      }
    }
  }

  /**
   * What became of a write over the message `expected`: its number, `null` when another write came
   * first, `undefined` when none has come yet.
   */
  async #outcome(
    subject: string,
    op: string,
    expected: number,
  ): Promise<number | null | undefined> {
    const first = await this.#channel.firstAfter(subject, expected);
    if (!first) return undefined;
    if (decodeHead(first.header(HEAD_HEADER)).op === op) return first.seq;
    // Ours would have been the next after the expected one. This one was, if it expected the same;
    // else ours may have come before it and be gone from the history.
    if (first.header(EXPECTED_HEADER) === String(expected)) return null;
    throw unknown(undefined);
  }

  async #outcomeOfPut(subject: string, op: string, cause: Unanswered): Promise<number> {
    const last = await this.#channel.last(subject);
    if (last && decodeHead(last.header(HEAD_HEADER)).op === op) return last.seq;
    // Doing it again could put it behind what someone else wrote meanwhile.
    throw unknown(cause);
  }

  /** Asks the server to remove a message after `ms`. */
  #removal(ms: number): Headers {
    if (!this.#channel.bucket.ttl || !(ms < LONGEST_TTL)) return [];
    return [["Nats-TTL", `${Math.max(1, Math.ceil(ms / 1_000))}s`]];
  }

  #newOp(): string {
    return `${this.#prefix}.${++this.#ops}`;
  }
}

function unknown(cause: unknown): FlowError {
  return new FlowError("store.unavailable", "Cannot tell whether the store has written a value", {
    cause,
  });
}
