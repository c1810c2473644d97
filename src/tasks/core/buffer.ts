import * as v from "valibot";
import type { Timer } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { type Data, derive, isBytes, jsonView } from "../../flow/event.ts";
import { ByteSize, Count, Duration, TemplateText } from "../../flow/schema.ts";
import { defineTask, type FlushReason, type Held } from "../../flow/task.ts";

const Config = v.strictObject({
  size: v.optional(v.pipe(Count, v.description("Emits a batch of so many events."))),
  bytes: v.optional(v.pipe(
    ByteSize,
    v.description(
      "Emits a batch before it grows beyond this size as JSON, such as `1MiB`; one larger event " +
        "makes a batch of its own. Measured in characters, which for most data are bytes.",
    ),
  )),
  timeout: v.optional(v.pipe(
    v.nullable(v.pipe(Duration, v.minValue(1, "Expected a timeout of at least 1ms"))),
    v.description("Emits a batch so long after its first event came. `null` and left out are 30s."),
  )),
  partition_key: v.optional(
    v.pipe(TemplateText, v.description("Keeps a batch per key, such as `{{event.data.region}}`.")),
  ),
  flush_on_completion: v.optional(
    v.pipe(
      v.boolean(),
      v.description(
        "Emits a batch as soon as all that is left of one of its deliveries waits here.",
      ),
    ),
    false,
  ),
});
type Config = v.InferOutput<typeof Config>;

interface Batch {
  readonly key: string;
  readonly members: Map<Held, number>;
  bytes: number;
  readonly timer: Timer;
}

/** Collects events into batches, by number, size and time, also per key. */
export const buffer = defineTask({
  type: "buffer",
  mode: "collect",
  summary: "Collects events and emits them as one event with a list.",
  config: Config,
  examples: [
    {
      title: "Batches of two",
      config: { size: 2 },
      input: [{ id: 1 }, { id: 2 }, { id: 3 }],
      output: [{ batch: [{ id: 1 }, { id: 2 }], batch_size: 2, flush_reason: "size" }],
    },
    {
      title: "Batches per region, at most a megabyte and ten seconds",
      config: { bytes: "1MiB", timeout: "10s", partition_key: "{{event.data.region}}" },
    },
  ],
  check({ config: { size, bytes, timeout }, locate }) {
    if (size !== undefined || bytes !== undefined || typeof timeout === "number") return;
    throw new FlowError("config.missing_key", 'Expected "size", "bytes" or "timeout"', {
      hint: "write for example size: 100",
      position: locate([]),
    });
  },
  holds: (config) => timeoutOf(config),
  create({ config, name, clock, output, defer }) {
    const { size = Infinity, bytes = Infinity, partition_key: keyOf } = config;
    const timeout = timeoutOf(config);
    const batches = new Map<string, Batch>();
    const batchOf = new Map<Held, Batch>();
    defer(() => batches.forEach(forget));

    function open(key: string): Batch {
      const timer = clock.after(timeout, () => flush(batch, "timeout"));
      const batch: Batch = { key, members: new Map(), bytes: 0, timer };
      batches.set(key, batch);
      return batch;
    }

    function forget(batch: Batch) {
      batch.timer.clear();
      batches.delete(batch.key);
      for (const held of batch.members.keys()) batchOf.delete(held);
    }

    function flush(batch: Batch, reason: FlushReason) {
      // Emitting another batch may have brought events that filled and flushed this one.
      if (batches.get(batch.key) !== batch) return;
      // Before the emit, which may bring the next event of this key at once.
      forget(batch);
      const members = [...batch.members.keys()];
      const data = {
        batch: members.map((held) => jsonView(held.event.data)),
        batch_size: members.length,
        flush_reason: reason,
        ...(keyOf && { partition_key: batch.key }),
      };
      output.emit(derive(members[0]!.event, { data, subject: name }), members);
    }

    return {
      add(held) {
        const key = keyOf?.at(held.event) ?? "";
        const length = bytes === Infinity ? 0 : lengthOf(held.event.data);
        let batch = batches.get(key);
        if (batch && batch.bytes + length > bytes) {
          flush(batch, "bytes");
          batch = undefined;
        }
        batch ??= batches.get(key) ?? open(key);
        batch.members.set(held, length);
        batch.bytes += length;
        batchOf.set(held, batch);
        if (batch.members.size >= size) flush(batch, "size");
        else if (batch.bytes >= bytes) flush(batch, "bytes");
      },
      drop(held) {
        const batch = batchOf.get(held);
        if (!batch) return;
        batch.bytes -= batch.members.get(held)!;
        batch.members.delete(held);
        batchOf.delete(held);
        if (batch.members.size === 0) forget(batch);
      },
      flush(reason) {
        for (const batch of [...batches.values()]) flush(batch, reason);
      },
      completed: config.flush_on_completion
        ? (all) => {
          for (const held of all) {
            const batch = batchOf.get(held);
            if (batch) flush(batch, "completion");
          }
        }
        : undefined,
    };
  },
});

function timeoutOf({ timeout }: Config): number {
  return timeout ?? 30_000;
}

/** Length as it will stand in the batch: JSON text, and base64 for bytes. */
function lengthOf(data: Data): number {
  return isBytes(data) ? Math.ceil(data.length / 3) * 4 : JSON.stringify(data).length;
}
