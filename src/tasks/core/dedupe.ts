import * as v from "valibot";
import { sleep } from "../../core/clock.ts";
import { sha256Hex } from "../../core/digest.ts";
import { isTransient, toFlowError } from "../../core/errors.ts";
import type { FlowEvent } from "../../flow/event.ts";
import { decodeRecord, encodeRecord } from "../../flow/record.ts";
import { Duration, TemplateText } from "../../flow/schema.ts";
import type { Key, Revision } from "../../flow/store.ts";
import { type Call, defineTask, type Output, Tracked } from "../../flow/task.ts";
import { claimsOf, holderIsGone, settledOr } from "./claims.ts";

/** How often a key that another node works on is looked at, milliseconds. */
const LOOK_AGAIN = 1_000;
/** Tries to write how an event ended while the store is away, a second apart and doubling. */
const TRIES = 6;

/** Who has a key, and whether what came of its event is done. */
const Claim = v.object({ state: v.picklist(["pending", "done"]), holder: v.string() });

/** Lets one event per key pass; it takes the key for good only when all that came of it is done. */
export const dedupe = defineTask({
  type: "dedupe",
  mode: "async",
  // Events that wait for the first of their key must not keep other keys out.
  concurrency: 1024,
  summary: "Drops events whose key was seen before.",
  config: v.strictObject({
    key: v.pipe(
      TemplateText,
      v.description("What makes events equal, such as `{{event.data.id}}`."),
    ),
    ttl: v.optional(
      v.pipe(
        Duration,
        v.minValue(1, "Expected a ttl of at least 1ms"),
        v.description("How long a key is remembered after its event was done."),
      ),
      "1h",
    ),
  }),
  examples: [{
    title: "Handle each order once a day, however often it is sent",
    config: { key: "{{event.data.order}}", ttl: "1d" },
    input: [{ order: 7 }, { order: 8 }],
    output: [{ order: 7 }, { order: 8 }],
  }],
  create({ config, name, flow, clock, log, services, epoch, defer }) {
    const { runtimeStore: store, cluster } = services;
    const claims = claimsOf(cluster);
    const recordOf = (state: "pending" | "done") => encodeRecord({ state, holder: cluster.nodeId });
    const closing = new AbortController();
    const writes = new Set<Promise<void>>();
    defer(async () => {
      closing.abort();
      await Promise.all(writes);
    });

    /** Takes the key, or tells that it is done or with another node. */
    async function take(key: Key): Promise<Revision | "done" | "elsewhere"> {
      for (;;) {
        const mine = recordOf("pending");
        const created = await store.create(key, mine, { ttl: config.ttl });
        if (created !== null) return created;
        const entry = await store.get(key);
        if (!entry) continue;
        const record = decodeRecord(entry.value, Claim);
        if (record.state === "done") return "done";
        // What this process works on is in `claims`, so a claim of its own here was left behind.
        if (!await holderIsGone(cluster, record.holder, false, epoch() > 0)) return "elsewhere";
        const taken = await store.update(key, mine, entry.revision, { ttl: config.ttl });
        if (taken !== null) return taken;
      }
    }

    /** Writes how it ended. When it gives up, the next event of the key passes as if it were the first. */
    async function settle(key: Key, claim: Revision, ok: boolean): Promise<void> {
      for (let tries = 1;; tries++) {
        try {
          if (!ok) await store.delete(key, claim);
          else await store.put(key, recordOf("done"), { ttl: config.ttl });
          return;
        } catch (cause) {
          if (tries < TRIES && isTransient(cause) && !closing.signal.aborted) {
            await sleep(clock, 500 * 2 ** tries, closing.signal);
            continue;
          }
          const { code, message } = toFlowError(cause);
          log.warning("How an event ended could not be written", { code, error: message });
          return;
        }
      }
    }

    return async (event: FlowEvent, { signal }: Call): Promise<Output> => {
      const text = config.key.at(event);
      const claimName = JSON.stringify([flow, name, text]);
      for (;;) {
        signal.throwIfAborted();
        const first = claims.get(claimName);
        if (first) {
          await settledOr(signal, first);
          // Known here even where the store could not be told.
          if (!signal.aborted && await first === true) return null;
          continue;
        }
        const { promise, resolve } = Promise.withResolvers<boolean>();
        claims.set(claimName, promise);
        const release = (done: boolean) => {
          claims.delete(claimName);
          resolve(done);
        };
        try {
          const key = ["flow", flow, "dedupe", name, await partOf(text)];
          const claim = await take(key);
          if (claim === "done" || claim === "elsewhere") {
            release(claim === "done");
            if (claim === "done") return null;
            await sleep(clock, LOOK_AGAIN, signal);
            continue;
          }
          if (signal.aborted) {
            await store.delete(key, claim);
            signal.throwIfAborted();
          }
          return new Tracked(event, ({ ok }) => {
            const write = settle(key, claim, ok).then(() => release(ok));
            writes.add(write);
            write.finally(() => writes.delete(write));
          });
        } catch (cause) {
          release(false);
          throw cause;
        }
      }
    };
  },
});

/** Longer keys are stored by their digest; a store takes keys of up to 1,000 bytes altogether. */
const LONGEST_KEY = 128;

/** Any text as a part of a store's key: never empty, and no two alike. */
async function partOf(text: string): Promise<string> {
  return text.length <= LONGEST_KEY ? `=${text}` : `#${await sha256Hex(text)}`;
}
