import type { JetStreamManager } from "@nats-io/jetstream";
import type { Clock } from "../../core/clock.ts";
import type { FlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { Random } from "../../core/random.ts";
import type { SourceOutput, SourceRun } from "../../flow/task.ts";
import type { NatsLease } from "../../nats/connect.ts";
import { checkJetStream } from "../../nats/jetstream.ts";
import { type ConsumerSpec, ensureConsumer, findStream } from "./consumer.ts";
import { type IntakeOptions, MessageIntake } from "./message_intake.ts";
import { Puller } from "./puller.ts";
import { inSessions, lostConnection, PATIENCE } from "./sessions.ts";
import { ensureStream } from "./stream.ts";
import type { StreamFields } from "./stream_fields.ts";
import { TakenMessages } from "./taken.ts";

export interface ReaderOptions {
  readonly lease: NatsLease;
  readonly manager: Pick<JetStreamManager, "streams" | "consumers">;
  readonly createInbox: () => string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly stream: StreamFields | undefined;
  readonly consumer: ConsumerSpec;
  /** Messages asked for at once. */
  readonly batch: number | undefined;
  /** Milliseconds between two requests for messages. */
  readonly delay: number;
  readonly intake: Omit<IntakeOptions, "taken" | "clock" | "log" | "onRoom">;
}

/**
 * Reads one durable consumer, one session after another: a session ends when the connection, the
 * consumer or the stream goes away, and the next one begins by seeing to all three. What was taken in
 * stays across sessions.
 */
export class StreamReader implements SourceRun {
  readonly #taken: TakenMessages;
  readonly #intake: MessageIntake;
  #puller: Puller | null = null;
  #window = 0;
  #windowBytes = 0;

  constructor(readonly options: ReaderOptions) {
    const { clock, log, lease: { connection }, consumer: { ackWait } } = options;
    this.#taken = new TakenMessages({ connection, clock, ackWait });
    this.#intake = new MessageIntake({
      ...options.intake,
      taken: this.#taken,
      clock,
      log,
      onRoom: () => this.#pull(),
    });
  }

  async run(output: SourceOutput): Promise<void> {
    const { clock, random, consumer } = this.options;
    this.#window = output.window;
    this.#windowBytes = output.windowBytes;
    this.#intake.start(output);
    await inSessions({
      output,
      clock,
      random,
      what: `read the consumer "${consumer.name}"`,
      session: () => this.#session(output),
    });
  }

  /** The generation has ended: lets go of everything that is left. */
  async close(): Promise<void> {
    this.#puller?.stop();
    this.#intake.stop();
    await this.#intake.settled();
    this.#taken.close();
  }

  async #session(output: SourceOutput): Promise<void> {
    const { signal } = output;
    const { lease } = this.options;
    await lease.ready(PATIENCE, signal);
    const stream = await this.#ensure();
    if (signal.aborted) return;
    const over = Promise.withResolvers<void>();
    const puller = this.#puller = this.#pullerOf(stream, (error) => over.reject(error));
    const unwatch = lease.onChange((trouble) => {
      if (trouble !== null) over.reject(lostConnection(trouble));
    });
    const stop = () => over.resolve();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    if (lease.trouble !== null) over.reject(lostConnection(lease.trouble));
    try {
      output.trouble(null);
      this.#pull();
      await over.promise;
      this.#puller = null;
      // Back at once with what has not begun, also with what comes in until the server has heard.
      this.#intake.stop();
      await puller.drain();
    } finally {
      this.#puller = null;
      puller.stop();
      unwatch();
      signal.removeEventListener("abort", stop);
    }
  }

  /** Sees to stream and consumer; gives the stream's name. */
  async #ensure(): Promise<string> {
    const { lease, manager, stream, consumer } = this.options;
    await checkJetStream(lease);
    if (stream) await ensureStream(manager, stream, consumer.subject);
    const name = stream?.name ?? await findStream(manager, consumer.subject);
    await ensureConsumer(manager, name, consumer);
    return name;
  }

  #pullerOf(stream: string, onBroken: (error: FlowError) => void): Puller {
    const { lease, clock, createInbox, consumer, batch, delay } = this.options;
    const window = this.#window;
    const step = Math.min(batch ?? Math.ceil(window / 4), window);
    return new Puller({
      connection: lease.connection,
      stream,
      consumer: consumer.name,
      clock,
      step,
      stepBytes: Math.max(
        lease.server.maxPayload,
        Math.ceil(this.#windowBytes / Math.ceil(window / step)),
      ),
      maxPayload: lease.server.maxPayload,
      delay,
      onMessage: (message) => this.#receive(message),
      onRoom: () => this.#pull(),
      onBroken,
    }, createInbox());
  }

  #receive(message: Parameters<MessageIntake["take"]>[0]): void {
    this.#intake.take(message);
  }

  #pull(): void {
    this.#puller?.pull({
      events: this.#window - this.#taken.count,
      bytes: this.#windowBytes - this.#taken.bytes,
      empty: this.#taken.count === 0,
    });
  }
}
