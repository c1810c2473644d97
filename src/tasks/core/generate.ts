import * as v from "valibot";
import { sleep } from "../../core/clock.ts";
import { FlowError, FlowErrors, toFlowError } from "../../core/errors.ts";
import type { Schedule, Scheduler } from "../../flow/scheduler.ts";
import { Count, Duration, TemplateJson } from "../../flow/schema.ts";
import type { Services } from "../../flow/services.ts";
import { defineTask, isCutShort, type Outcome } from "../../flow/task.ts";
import { claimsOf, holderIsGone, settledOr } from "./claims.ts";
import {
  decide,
  finished,
  latestDue,
  type SeenTick,
  TickLedger,
  type TickPlan,
  type TickRecord,
} from "./tick.ts";
import { checkPayload, tickEvent } from "./tick_event.ts";

const Config = v.strictObject({
  interval: v.optional(v.pipe(
    Duration,
    v.minValue(1, "Expected an interval of at least 1ms"),
    v.description(
      "Time from one tick to the next, such as `30s` or `10ms`. The first tick comes at once.",
    ),
  )),
  cron: v.optional(v.pipe(
    v.string(),
    v.description(
      "Cron expression with 5 fields, 6 (seconds first) or 7 (year last), or `@daily`.",
    ),
  )),
  timezone: v.optional(v.pipe(
    v.string(),
    v.description("IANA time zone of `cron`, such as `Europe/Berlin`; `UTC` when left out."),
  )),
  count: v.optional(v.pipe(
    Count,
    v.description(
      "Ends after so many deliveries that are done. Without `interval` and `cron` they follow one " +
        "another without a pause.",
    ),
  )),
  allow_rerun: v.optional(
    v.pipe(
      v.boolean(),
      v.description("Counts from zero again at each start of the flow, on whichever node."),
    ),
    false,
  ),
  payload: v.optional(v.pipe(
    TemplateJson,
    v.description(
      "Data of the events, `{}` when left out. Templates know `event.data.counter` (deliveries done " +
        "so far), `event.data.system_info.last_run_time` and `event.data.system_info.next_run_time`. " +
        "An object gets `system_info` added; anything else is sent as it is.",
    ),
  )),
  catch_up: v.optional(v.pipe(
    v.picklist(["none", "one"]),
    v.description(
      "What becomes of ticks that fell due while the flow was down or busy: `one` runs once, at " +
        "once, for all of them (default with `interval`), `none` skips them (default with `cron`).",
    ),
  )),
  scope: v.optional(
    v.pipe(
      v.picklist(["cluster", "node"]),
      v.description(
        "`cluster`: one node runs each tick. `node`: each node runs its own ticks, and counts and " +
          "remembers them from its own start.",
      ),
    ),
    "cluster",
  ),
});
type Config = v.InferOutput<typeof Config>;

/** Pause after a failed delivery where no schedule sets one, milliseconds. */
const PAUSE_AFTER_FAILURE = 1_000;
/** How often a tick that another node runs is looked at, milliseconds. */
const LOOK_AGAIN = 1_000;
/** Records of nodes outlive any pause between two ticks of theirs, and go when the node is history. */
const NODE_RECORD_TTL = 400 * 86_400_000;

/** Emits events by interval or cron, each tick once however many nodes run the flow. */
export const generate = defineTask({
  type: "generate",
  mode: "source",
  window: 1,
  ordered: true,
  summary: "Emits events on a schedule: by interval, by cron expression, or a number of times.",
  config: Config,
  examples: [
    { title: "Every five minutes", config: { interval: "5m" } },
    {
      title: "On working days at seven in Berlin, also when the machine wakes up later",
      config: { cron: "0 7 * * MON-FRI", timezone: "Europe/Berlin", catch_up: "one" },
    },
    {
      title: "Once per deployment, with data of its own",
      config: { count: 1, allow_rerun: true, payload: { table: "orders" } },
    },
    {
      title: "Ask for what changed since the last run",
      config: {
        interval: "1h",
        payload: { since: "{{event.data.system_info.last_run_time}}" },
      },
    },
  ],
  check({ config, services, locate }) {
    const findings: FlowError[] = [];
    const find = (field: string, code: string, message: string, hint?: string) =>
      findings.push(new FlowError(code, message, { hint, position: locate([field]) }));
    if (config.interval !== undefined && config.cron !== undefined) {
      find("cron", "config.conflicting_keys", 'Cannot use "interval" together with "cron"');
    }
    if (!scheduleOf(config) && config.count === undefined) {
      findings.push(
        new FlowError("config.missing_key", 'Expected "interval", "cron" or "count"', {
          hint: 'write for example interval: "5m"',
          position: locate([]),
        }),
      );
    }
    if (config.timezone !== undefined && config.cron === undefined) {
      find("timezone", "config.unused_key", '"timezone" has a meaning with "cron" only');
    }
    if (config.cron !== undefined) {
      try {
        services.scheduler.next({ cron: config.cron, timezone: config.timezone ?? "UTC" }, 0);
      } catch (cause) {
        const error = toFlowError(cause, "config.cron_invalid");
        const field = error.code === "config.timezone_invalid" ? "timezone" : "cron";
        findings.push(error.at(locate([field])));
      }
    }
    try {
      checkPayload(config.payload);
    } catch (cause) {
      findings.push(
        new FlowError("config.invalid_value", toFlowError(cause).message, {
          hint: "a payload knows event.data.counter and event.data.system_info",
          position: locate(["payload"]),
        }),
      );
    }
    if (findings.length > 0) throw new FlowErrors(findings);
  },
  create({ config, name, flow, clock, log, services, epoch, defer }) {
    const schedule = scheduleOf(config);
    const ledger = ledgerOf(config, name, flow, services);
    const { cluster } = services;
    const claims = claimsOf(cluster);
    const claimName = ledger.key.join("/");
    const plan: TickPlan = {
      schedule,
      count: config.count,
      catchUp: config.catch_up ?? (config.cron === undefined ? "one" : "none"),
      next: (schedule, after) => services.scheduler.next(schedule, after),
    };
    let rerun = config.allow_rerun;
    /** Writes the end of a run; kept while the store refuses, so that a done run is not repeated. */
    let finish: (() => Promise<void>) | null = null;
    let release = () => {};
    defer(() => release());

    function claimed() {
      const { promise, resolve } = Promise.withResolvers<void>();
      claims.set(claimName, promise);
      release = () => {
        if (claims.get(claimName) === promise) claims.delete(claimName);
        resolve();
      };
    }

    /** Others have other ticks, or do not run the flow while this node owns it. */
    const isAlone = () => config.scope === "node" || epoch() > 0;

    /** Milliseconds to leave a tick to the first in line, unless that one did not come last time. */
    function lateness({ holder }: TickRecord): number {
      const first = isAlone() || holder === cluster.nodeId || cluster.rank(claimName) === 0;
      return first ? 0 : cluster.renewInterval;
    }

    async function isLeft({ state, holder }: TickRecord): Promise<boolean> {
      return state === "running" &&
        await holderIsGone(cluster, holder, claims.has(claimName), isAlone());
    }

    function ended(claim: SeenTick, started: number, outcome: Outcome) {
      const run = { ok: outcome.ok, started, ended: clock.now() };
      if (!outcome.ok) {
        const { code, message } = toFlowError(outcome.cause);
        log.warning("A run failed and does not count; the next one comes at its time", {
          code,
          error: message,
        });
      }
      finish = async () => {
        if (!await ledger.finish(claim, (record) => finished(record, run, plan))) {
          log.warning("Another node took the tick over before its end was written");
        }
        finish = null;
        release();
      };
    }

    return {
      async run(output) {
        const { signal } = output;
        if (finish) await finish();
        if (rerun) await ledger.resetCounter();
        rerun = false;
        while (!signal.aborted) {
          const older = claims.get(claimName);
          if (older) {
            await settledOr(signal, older);
            continue;
          }
          const seen = await ledger.read();
          const decision = decide(seen.record, plan, clock.now(), await isLeft(seen.record));
          if (decision.kind === "over") return;
          if (decision.kind === "busy") {
            await sleep(clock, LOOK_AGAIN, signal);
            continue;
          }
          const tickDone = schedule
            ? await waitUntil(services.scheduler, decision.at + lateness(seen.record), signal)
            : () => {};
          try {
            if (signal.aborted) return;
            if (claims.has(claimName)) continue;
            if (!cluster.mayRun()) {
              await sleep(clock, LOOK_AGAIN, signal);
              continue;
            }
            claimed();
            const started = clock.now();
            const tick = decision.left ? decision.at : latestDue(decision.at, plan, started);
            const claim = await ledger.claim(seen, tick, cluster.nodeId);
            // The store may have taken so long that others could have it by now.
            if (!claim || !cluster.mayRun()) {
              release();
              continue;
            }
            const outcome = await output.deliver(
              tickEvent(config.payload, name, claim.record, plan, started),
            );
            // Cut short is not failed: whoever comes next finds the claim and runs it again.
            if (!outcome.ok && isCutShort(outcome.cause)) {
              release();
              await sleep(clock, LOOK_AGAIN, signal);
              continue;
            }
            ended(claim, started, outcome);
            await finish!();
            if (!outcome.ok && !schedule) await sleep(clock, PAUSE_AFTER_FAILURE, signal);
          } catch (cause) {
            if (!finish) release();
            throw cause;
          } finally {
            tickDone();
          }
        }
      },
    };
  },
});

function scheduleOf({ interval, cron, timezone }: Config): Schedule | null {
  if (cron !== undefined) return { cron, timezone: timezone ?? "UTC" };
  return interval === undefined ? null : { interval };
}

function ledgerOf(config: Config, name: string, flow: string, services: Services): TickLedger {
  const key = ["flow", flow, "tick", name];
  const { runtimeStore, cluster } = services;
  return config.scope === "cluster"
    ? new TickLedger(runtimeStore, key)
    : new TickLedger(runtimeStore, [...key, cluster.nodeId], { ttl: NODE_RECORD_TTL });
}

/** Answers when it is time, or the signal fires, with what tells the scheduler that all is done. */
function waitUntil(scheduler: Scheduler, time: number, signal: AbortSignal): Promise<() => void> {
  const work = Promise.withResolvers<void>();
  if (signal.aborted) return Promise.resolve(work.resolve);
  return new Promise((resolve) => {
    let timer: { cancel(): void } | null = null;
    const go = () => {
      timer?.cancel();
      signal.removeEventListener("abort", go);
      resolve(work.resolve);
      return work.promise;
    };
    signal.addEventListener("abort", go, { once: true });
    timer = scheduler.at(time, go);
  });
}
