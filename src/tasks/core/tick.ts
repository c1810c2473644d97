import * as v from "valibot";
import { decodeRecord, encodeRecord } from "../../flow/record.ts";
import type { Schedule } from "../../flow/scheduler.ts";
import type { Expiry, Key, Revision, Store } from "../../flow/store.ts";

/** The record of one `generate`, shared by all who run it. Instants are milliseconds since 1970. */
const TickRecord = v.object({
  /** When the tick that was claimed last was due; `null` before the first. */
  tick: v.nullable(v.number()),
  state: v.picklist(["idle", "running"]),
  /** Node that claimed last. */
  holder: v.nullable(v.string()),
  /** Start of the last run whose delivery is done. */
  last_run: v.nullable(v.number()),
  /** Deliveries that are done. */
  counter: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});
export type TickRecord = Readonly<v.InferOutput<typeof TickRecord>>;

export const NEVER_RUN: TickRecord = {
  tick: null,
  state: "idle",
  holder: null,
  last_run: null,
  counter: 0,
};

export interface TickPlan {
  /** `null`: each run follows the one before. */
  readonly schedule: Schedule | null;
  readonly count: number | undefined;
  /** What becomes of ticks that fell due while nobody could run them: `one` stands for all. */
  readonly catchUp: "none" | "one";
  /** `Scheduler.next` */
  next(schedule: Schedule, after: number): number | null;
}

export type TickDecision =
  | { readonly kind: "due"; readonly at: number; readonly left: boolean }
  /** Someone else is running a tick. */
  | { readonly kind: "busy" }
  /** The count is reached, or the schedule has no further time. */
  | { readonly kind: "over" };

/**
 * A stored tick lies in the future only where clocks differ. Beyond what synchronised clocks do, our
 * own was set back, and waiting for the old time could take years.
 */
const CLOCK_SET_BACK = 60_000;

/** A stored tick, unless the clock was set back since. */
function believed(tick: number | null, now: number): number | null {
  return tick !== null && tick > now + CLOCK_SET_BACK ? null : tick;
}

/**
 * What to do next, and when. `left`: a tick that its holder left unfinished and that runs again.
 *
 * @param holderIsGone Whether who runs the tick, if it is running, can no longer be at work.
 */
export function decide(
  record: TickRecord,
  plan: TickPlan,
  now: number,
  holderIsGone: boolean,
): TickDecision {
  if (plan.count !== undefined && record.counter >= plan.count) return { kind: "over" };
  if (record.state === "running") {
    if (!holderIsGone) return { kind: "busy" };
    return { kind: "due", at: believed(record.tick, now) ?? now, left: true };
  }
  const at = nextDue(record.tick, plan, now);
  return at === null ? { kind: "over" } : { kind: "due", at, left: false };
}

function nextDue(tick: number | null, plan: TickPlan, now: number): number | null {
  const { schedule } = plan;
  if (!schedule) return now;
  if (tick === null) return "interval" in schedule ? now : plan.next(schedule, now);
  const due = plan.next(schedule, believed(tick, now) ?? now);
  if (due === null || due >= now || plan.catchUp === "one") return due;
  return "interval" in schedule
    ? due + Math.ceil((now - due) / schedule.interval) * schedule.interval
    : plan.next(schedule, now - 1);
}

/**
 * The tick that stands for all from `due` to `now`. Intervals stay on their grid, so that late timers
 * do not add up.
 */
export function latestDue(due: number, plan: TickPlan, now: number): number {
  const { schedule } = plan;
  if (!schedule || now <= due) return due;
  if ("interval" in schedule) {
    return due + Math.floor((now - due) / schedule.interval) * schedule.interval;
  }
  const next = plan.next(schedule, due);
  return next !== null && next <= now ? now : due;
}

/** The record after a run. Only a delivery that is done moves `last_run` and `counter`. */
export function finished(
  record: TickRecord,
  run: { readonly ok: boolean; readonly started: number; readonly ended: number },
  plan: TickPlan,
): TickRecord {
  if (run.ok) {
    return { ...record, state: "idle", last_run: run.started, counter: record.counter + 1 };
  }
  // What fell due during a run that failed is not caught up: that would be a loop without pauses.
  const tick = latestDue(record.tick ?? run.ended, plan, run.ended);
  return { ...record, state: "idle", tick };
}

/** A record as read, and what to name when replacing it. */
export interface SeenTick {
  readonly record: TickRecord;
  /** `null` when there is no record yet. */
  readonly revision: Revision | null;
}

/** Reads and changes one record, by compare-and-set only. */
export class TickLedger {
  constructor(
    readonly store: Store,
    readonly key: Key,
    readonly expiry?: Expiry,
  ) {}

  /**
   * Never starts from zero on a record it cannot read: that would repeat what was counted already.
   *
   * @throws {FlowError} `store.record_invalid`, `store.record_newer`
   */
  async read(): Promise<SeenTick> {
    const entry = await this.store.get(this.key);
    if (!entry) return { record: NEVER_RUN, revision: null };
    return { record: decodeRecord(entry.value, TickRecord), revision: entry.revision };
  }

  /** Takes a tick for a node; `null` when someone was faster. */
  claim(seen: SeenTick, tick: number, holder: string): Promise<SeenTick | null> {
    return this.#write({ ...seen.record, tick, state: "running", holder }, seen);
  }

  /** Ends a claim; `false` when it was taken over meanwhile. May be called again after a throw. */
  async finish(claim: SeenTick, change: (record: TickRecord) => TickRecord): Promise<boolean> {
    let seen = claim;
    for (;;) {
      const wanted = change(seen.record);
      if (await this.#write(wanted, seen)) return true;
      const found = await this.read();
      // An earlier try may have arrived although its answer did not.
      if (JSON.stringify(found.record) === JSON.stringify(wanted)) return true;
      const ours = found.record.state === "running" &&
        found.record.holder === claim.record.holder &&
        found.record.tick === claim.record.tick;
      if (!ours) return false;
      seen = found;
    }
  }

  /** Counts from zero again, whoever is running. */
  async resetCounter(): Promise<void> {
    for (;;) {
      const seen = await this.read();
      if (seen.record.counter === 0) return;
      if (await this.#write({ ...seen.record, counter: 0 }, seen)) return;
    }
  }

  async #write(record: TickRecord, seen: SeenTick): Promise<SeenTick | null> {
    const bytes = encodeRecord(record);
    const revision = seen.revision === null
      ? await this.store.create(this.key, bytes, this.expiry)
      : await this.store.update(this.key, bytes, seen.revision, this.expiry);
    return revision === null ? null : { record, revision };
  }
}
