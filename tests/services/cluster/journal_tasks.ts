/**
 * Task types of the runtimes under test. They tell the journal of the test (`journal.ts`) what they are
 * about to do, over a socket of the file system: it does not pass through NATS, nor through any network
 * that a test takes apart.
 */
import * as v from "valibot";
import { defineTask, newEvent, schema, type Store } from "../../../mod.ts";
import { sleep } from "../../../src/core/clock.ts";

/** What an attempt says before it starts (`start`), and before it writes its state (`write`). */
export interface Word {
  /** Names the attempt within its process. */
  readonly attempt: number;
  readonly kind: "start" | "write" | "end";
  readonly pid: number;
  readonly flow: string;
  readonly node: string;
  readonly epoch: number;
  /** When the attempt started, and when this was sent: `performance.now()` of the process. */
  readonly at: number;
  readonly sent: number;
  /** `end`: `done`, or the code of the error. */
  readonly outcome?: string;
  /** `end`: what the flow's state counts after this attempt. */
  readonly count?: number;
}

/** Emits all the time, so that two runners of one flow would be seen at once. */
export const pulse = defineTask({
  type: "pulse",
  mode: "source",
  summary: "Emits again and again, whatever becomes of what it emitted.",
  config: v.strictObject({ every: v.pipe(schema.Duration, v.description("Time between events.")) }),
  examples: [{ title: "Fifty in a second", config: { every: "20ms" } }],
  create({ config, name, clock }) {
    return {
      async run(output) {
        while (!output.signal.aborted) {
          await output.emit(newEvent({ data: {}, subject: name }, clock.now()), () => {});
          await sleep(clock, config.every, output.signal);
        }
      },
    };
  },
});

/** An attempt that cannot tell the journal has not started. */
export const journal = defineTask({
  type: "journal",
  mode: "async",
  summary: "Tells the journal that an attempt starts, then counts it in the flow's state.",
  config: v.strictObject({
    socket: v.pipe(v.string(), v.description("Where the journal listens.")),
    state: v.optional(v.pipe(v.boolean(), v.description("Whether it counts.")), false),
  }),
  examples: [{ title: "Without state", config: { socket: "/tmp/journal.sock" } }],
  create({ config, flow, epoch, services }) {
    const line = lineTo(config.socket);
    return async (event) => {
      const attempt = {
        attempt: ++attempts,
        pid: Deno.pid,
        flow,
        node: services.cluster.nodeId,
        epoch: epoch(),
        at: performance.now(),
      };
      await line.say({ ...attempt, kind: "start" });
      let end: Pick<Word, "outcome" | "count"> = { outcome: "done" };
      try {
        if (config.state) {
          const before = () => line.say({ ...attempt, kind: "write" });
          end = { outcome: "done", count: await count(services.runtimeStore, flow, before) };
        }
      } catch (cause) {
        end = { outcome: (cause as { code?: string }).code ?? String(cause) };
        throw cause;
      } finally {
        await line.say({ ...attempt, kind: "end", ...end });
      }
      return event;
    };
  },
});

let attempts = 0;

/** Reads, asks, writes: what another node wrote in between must make the write fail. */
async function count(store: Store, flow: string, before: () => Promise<void>): Promise<number> {
  const key = ["flow", flow, "count"];
  const entry = await store.get(key);
  const seen = entry ? Number(new TextDecoder().decode(entry.value)) : 0;
  await before();
  const value = new TextEncoder().encode(String(seen + 1));
  await store.put(key, value);
  return seen + 1;
}

class Line {
  readonly #open: Promise<WritableStreamDefaultWriter<Uint8Array>>;
  readonly #waiting = new Map<string, () => void>();

  constructor(path: string) {
    this.#open = this.#connect(path);
  }

  /** Resolves when the journal has it and lets the attempt go on. */
  async say(word: Omit<Word, "sent">): Promise<void> {
    const writer = await this.#open;
    const heard = Promise.withResolvers<void>();
    this.#waiting.set(`${word.attempt} ${word.kind}`, heard.resolve);
    const text = JSON.stringify({ ...word, sent: performance.now() });
    await writer.write(new TextEncoder().encode(`${text}\n`));
    await heard.promise;
  }

  async #connect(path: string) {
    const connection = await Deno.connect({ transport: "unix", path });
    void this.#listen(connection.readable);
    return connection.writable.getWriter();
  }

  async #listen(readable: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const answer of linesOf(readable)) {
      const [, step] = /^step (-?\d+)$/.exec(answer) ?? [];
      if (step !== undefined) stepClock(Number(step));
      this.#waiting.get(answer)?.();
      this.#waiting.delete(answer);
    }
  }
}

/**
 * Moves this process's wall clock, as far as JavaScript can see it; `performance.now()` goes on as it
 * does on a machine whose clock is set.
 */
function stepClock(ms: number): void {
  const { now } = Date;
  Date.now = () => now() + ms;
}

const lines = new Map<string, Line>();

/** One connection for all flows of the process. */
function lineTo(path: string): Line {
  const line = lines.get(path) ?? new Line(path);
  lines.set(path, line);
  return line;
}

export async function* linesOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string> {
  let rest = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + part).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
