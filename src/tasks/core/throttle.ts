import * as v from "valibot";
import { sleep, type Timer } from "../../core/clock.ts";
import { formatDuration } from "../../core/duration.ts";
import { FlowError } from "../../core/errors.ts";
import { Count, Duration, TemplateText } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import { Rates } from "./rate.ts";

/** Lets a number of events pass per time: later ones wait, are dropped, or fail. */
export const throttle = defineTask({
  type: "throttle",
  mode: "async",
  // Events of a busy key wait here; they must not keep those of other keys out.
  concurrency: 1024,
  summary: "Limits how many events pass in a time, altogether or per key.",
  config: v.strictObject({
    limit: v.pipe(
      Count,
      v.description("Events that may pass per `interval`. As many pass at once after a pause."),
    ),
    interval: v.optional(
      v.pipe(
        Duration,
        v.minValue(1, "Expected an interval of at least 1ms"),
        v.description("The time `limit` is for, such as `1m`. Each node counts for itself."),
      ),
      "1s",
    ),
    key: v.optional(
      v.pipe(TemplateText, v.description("Limits each key for itself: `{{event.data.customer}}`.")),
    ),
    on_limit: v.optional(
      v.pipe(
        v.picklist(["wait", "drop", "fail"]),
        v.description(
          "What becomes of an event beyond the limit: it waits for its turn, is dropped, or fails " +
            "with `throttle.limited`.",
        ),
      ),
      "wait",
    ),
  }),
  examples: [
    { title: "Five requests per second at most", config: { limit: 5 } },
    {
      title: "One alarm per device and hour",
      config: { limit: 1, interval: "1h", key: "{{event.data.device}}", on_limit: "drop" },
      input: [{ device: "a", t: 91 }, { device: "a", t: 92 }, { device: "b", t: 95 }],
      output: [{ device: "a", t: 91 }, { device: "b", t: 95 }],
    },
  ],
  create({ config: { limit, interval, key: keyOf, on_limit }, clock, defer }) {
    const rates = new Rates(limit, interval);
    let sweeper: Timer | null = null;
    defer(() => sweeper?.clear());

    /** Looks for full buckets while there are any, so that keys seen once do not stay. */
    function sweepLater() {
      sweeper ??= clock.after(interval, () => {
        sweeper = null;
        rates.sweep(clock.monotonic());
        if (rates.size > 0) sweepLater();
      });
    }

    return (event, { signal }) => {
      signal.throwIfAborted();
      const key = keyOf?.at(event) ?? "";
      const now = clock.monotonic();
      const wait = rates.wait(key, now);
      if (wait > 0 && on_limit === "drop") return null;
      if (wait > 0 && on_limit === "fail") {
        const what = `Cannot let more than ${limit} pass in ${formatDuration(interval)}`;
        throw new FlowError("throttle.limited", what, { retryAfter: wait });
      }
      rates.take(key, now);
      sweepLater();
      if (wait === 0) return event;
      return sleep(clock, wait, signal).then(() => {
        if (!signal.aborted) return event;
        rates.giveBack(key, clock.monotonic());
        throw signal.reason;
      });
    };
  },
});
