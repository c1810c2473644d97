import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import type { MsgHdrs, NatsConnection } from "@nats-io/nats-core";
import { sleep, systemClock } from "../../core/clock.ts";
import { FlowError, textOf } from "../../core/errors.ts";
import { logFor } from "../../core/log.ts";
import type { NatsLease } from "../../nats/connect.ts";
import { isAmbiguous, natsError } from "../../nats/errors.ts";
import { type Bucket, type BucketSettings, openBucket } from "./bucket.ts";

/** One stored message. */
export interface Message {
  readonly subject: string;
  readonly seq: number;
  readonly data: Uint8Array;
  header(name: string): string | undefined;
}

/** One message to store. */
export interface Draft {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: readonly (readonly [string, string])[];
}

/** Where it is not known whether the server did what it was asked to. */
export class Unanswered extends Error {
  override readonly name = "Unanswered";
}

/** For everything a call of the store does until it gives up; the network's time, never a test's. */
const CALL_LIMIT = 5_000;
/** For one read: a leader that has just died never answers, and the next one knows as much. */
const READ_LIMIT = 1_500;
const FIRST_PAUSE = 25;
const LONGEST_PAUSE = 400;

/** What the server says when another write came first. */
const WRONG_SEQUENCE: ReadonlySet<number> = new Set([10071, 10164]);
const NO_MESSAGE = 10037;

export interface ChannelSettings extends BucketSettings {
  /** Milliseconds for which the bucket must have been gone before it is made again. */
  readonly remakeAfter: number;
}

export const EXPECTED_HEADER = "Nats-Expected-Last-Subject-Sequence";

/**
 * Single steps on a bucket's stream. Calls wait for a lost connection and try again what certainly
 * has not happened, within `CALL_LIMIT`. A bucket that stays gone is made again.
 *
 * @throws {FlowError} from every method: `nats.unavailable` and the like
 */
export class Channel {
  readonly #connection: NatsConnection;
  #bucket: Bucket;
  /** Since when the bucket is gone, as far as anybody asked. */
  #goneSince: number | undefined;
  #looking: Promise<void> | undefined;
  #making: Promise<void> | undefined;

  private constructor(
    readonly lease: NatsLease,
    readonly settings: ChannelSettings,
    bucket: Bucket,
    readonly client: typeof import("@nats-io/nats-core"),
    readonly js: JetStreamClient,
    readonly manager: JetStreamManager,
  ) {
    this.#connection = lease.connection;
    this.#bucket = bucket;
  }

  /** @throws {FlowError} what `openBucket` throws */
  static async open(lease: NatsLease, settings: ChannelSettings): Promise<Channel> {
    const bucket = await openBucket(lease, settings);
    const client = await import("@nats-io/nats-core");
    const { jetstream, jetstreamManager } = await import("@nats-io/jetstream");
    const options = { timeout: CALL_LIMIT, checkAPI: false };
    const manager = await jetstreamManager(lease.connection, options);
    const js = jetstream(lease.connection, options);
    return new Channel(lease, settings, bucket, client, js, manager);
  }

  get bucket(): Bucket {
    return this.#bucket;
  }

  /** Bytes of a value that fit into one message beside its headers. */
  get largestValue(): number {
    const most = Math.min(this.lease.server.maxPayload, this.bucket.maxMessage);
    return Math.max(most - HEADROOM, SMALLEST_PART);
  }

  /**
   * Stores a message; gives its number, or `null` when the subject's last message is not the expected.
   *
   * @throws {Unanswered} It may have been stored all the same.
   */
  async store({ subject, data, headers }: Draft): Promise<number | null> {
    return await this.#trying(async (timeout) => {
      try {
        const all = this.client.headers();
        for (const [name, value] of headers) all.set(name, value);
        return (await this.js.publish(subject, data, { headers: all, timeout })).seq;
      } catch (cause) {
        if (WRONG_SEQUENCE.has((cause as { code: number }).code)) return null;
        const error = natsError(cause, `write to the bucket ${this.#name}`);
        throw isAmbiguous(error) ? new Unanswered(error.message, { cause: error }) : error;
      }
    });
  }

  /** The last message of a subject, as its leader has it. */
  async last(subject: string): Promise<Message | null> {
    return await this.#reading(async () => {
      if (!this.bucket.direct) return await this.#fromLeader({ last_by_subj: subject });
      const { direct } = this.manager;
      const found = await direct.getMessage(this.bucket.stream, { last_by_subj: subject });
      return found && {
        subject,
        seq: found.seq,
        data: found.data,
        header: (name) => headerOf(found.header, name),
      };
    });
  }

  /** The first message of a subject after a number, as its leader has it. */
  async firstAfter(subject: string, seq: number): Promise<Message | null> {
    return await this.#reading(() => {
      return this.#fromLeader({ next_by_subj: subject, seq: seq + 1 });
    });
  }

  /** All subjects that have messages and fit. */
  async subjects(filter: string): Promise<string[]> {
    return await this.#reading(async () => {
      const { stream } = this.bucket;
      const { state } = await this.manager.streams.info(stream, { subjects_filter: filter });
      return Object.keys(state.subjects ?? {});
    });
  }

  /** Removes the messages of subjects that fit, all or those with a lower number. */
  async purge(filter: string, below?: number): Promise<void> {
    await this.#reading(() => {
      const only = below === undefined ? { filter } : { filter, seq: below };
      return this.manager.streams.purge(this.bucket.stream, only);
    });
  }

  async #fromLeader(query: object): Promise<Message | null> {
    const subject = `$JS.API.STREAM.MSG.GET.${this.bucket.stream}`;
    const options = { timeout: READ_LIMIT };
    const answer = (await this.#connection.request(subject, JSON.stringify(query), options)).json<{
      readonly message?: Stored;
      readonly error?: { readonly err_code: number; readonly code: number; description: string };
    }>();
    if (answer.error?.err_code === NO_MESSAGE) return null;
    if (answer.error) {
      const { err_code: code, code: status, description } = answer.error;
      throw Object.assign(new Error(description), { name: "JetStreamApiError", code, status });
    }
    const { subject: of, seq, data = "", hdrs } = answer.message!;
    const headers = hdrs ? this.client.MsgHdrsImpl.decode(Uint8Array.fromBase64(hdrs)) : undefined;
    return {
      subject: of,
      seq,
      data: Uint8Array.fromBase64(data),
      header: (name) => headerOf(headers, name),
    };
  }

  /** A step that may be done twice. */
  async #reading<T>(step: () => Promise<T>): Promise<T> {
    return await this.#trying(async () => {
      try {
        return await step();
      } catch (cause) {
        throw natsError(cause, `read the bucket ${this.#name}`);
      }
    });
  }

  /** Does a step again, as long as there is time, when trying again can help and does no harm. */
  async #trying<T>(step: (timeout: number) => Promise<T>): Promise<T> {
    const end = systemClock.monotonic() + CALL_LIMIT;
    const left = () => Math.max(1, end - systemClock.monotonic());
    for (let pause = FIRST_PAUSE;; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        if (this.lease.trouble !== null) await this.lease.ready(left());
        const done = await step(left());
        this.#goneSince = undefined;
        return done;
      } catch (thrown) {
        const cause = await this.#mended(thrown);
        const again = cause instanceof FlowError && cause.remedy === "retry";
        if (!again || left() <= pause) throw cause;
        await sleep(systemClock, pause);
      }
    }
  }

  /**
   * Sees to a bucket that somebody took away, as a server does that lost its disk. Not before all is
   * over that what stood in it had begun: a right to run, for one, ends with its lease.
   *
   * @returns What to tell the caller, should trying again not help.
   */
  async #mended(cause: unknown): Promise<unknown> {
    if (!(cause instanceof FlowError)) return cause;
    const now = systemClock.monotonic();
    if (cause.code === "nats.stream_missing") this.#goneSince ??= now;
    else if (cause.code !== "nats.no_responders") return cause;
    // So it is with a stream that has no leader too, for which no call shall wait longer than it must.
    else if (this.#goneSince === undefined) this.#looking ??= this.#look();
    if (this.#goneSince === undefined) return cause;
    if (now - this.#goneSince >= this.settings.remakeAfter) await (this.#making ??= this.#make());
    return new FlowError("nats.no_stream", `Cannot use the bucket ${this.#name}: it is gone`, {
      hint: "it is made again when it stays away",
      cause,
    });
  }

  /** Whether the bucket is gone, where nobody answers for it. */
  async #look(): Promise<void> {
    try {
      await this.manager.streams.info(this.bucket.stream);
    } catch (cause) {
      const isGone = natsError(cause, "").code === "nats.stream_missing";
      if (isGone) this.#goneSince ??= systemClock.monotonic();
    } finally {
      this.#looking = undefined;
    }
  }

  async #make(): Promise<void> {
    try {
      this.#bucket = await openBucket(this.lease, this.settings);
      this.#goneSince = undefined;
      logFor("store").warning("A bucket was gone with all it held, and was made again", {
        bucket: this.#name,
      });
    } catch (error) {
      logFor("store").debug("Cannot make a bucket again that is gone", { error: textOf(error) });
    } finally {
      this.#making = undefined;
    }
  }

  get #name(): string {
    return this.bucket.stream.replace(/^KV_/, "");
  }
}

/** Our own headers, and those the server puts beside them. */
const HEADROOM = 1_024;
const SMALLEST_PART = 512;

interface Stored {
  readonly subject: string;
  readonly seq: number;
  /** Base64. */
  readonly data?: string;
  readonly hdrs?: string;
}

function headerOf(headers: MsgHdrs | undefined, name: string): string | undefined {
  return headers?.get(name) || undefined;
}
