import { seededRandom } from "../../core/random.ts";
import { type Incarnation, RENEW, type Slot } from "./slot.ts";
import { Violation, World } from "./world.ts";

/** Milliseconds in which things go wrong. */
const TROUBLED = 15_000;
/** How long one thing is wrong at most. */
const LONGEST = 10_000;
/** Milliseconds after which all is well again: a lease, the longest line, a pause and some looks. */
const HEALED = 45_000;

export interface ScheduleOptions {
  /**
   * `safe`: whatever goes wrong, two never run. `live`: and when nothing goes wrong any more, all is
   * run. `outage`: the store is away from everybody, and nobody is taken for gone because of it.
   */
  readonly kind: "safe" | "live" | "outage";
  readonly trace?: string[];
}

/**
 * Runs what a seed says: three nodes and one or two flows, clocks of different speed, and one to five
 * troubles at random times.
 *
 * @throws {Violation}
 */
export function runSchedule(seed: number, { kind, trace }: ScheduleOptions): void {
  const random = seededRandom(seed);
  const flows = random.next() < 0.8 ? ["f"] : ["f", "g"];
  // Up to a third apart would be right; beyond that `renew` is too small a margin.
  const rates = [0, 1, 2].map(() => 0.85 + random.next() * 0.3);
  const world = new World(random, flows, rates, trace ?? null);
  world.mayJudge = kind !== "outage";
  if (kind === "outage") {
    // With time between two of them for everybody to say that it lives.
    for (let at = world.pick(TROUBLED / 2); at < TROUBLED; at += LONGEST + 2 * RENEW) {
      world.after(at, () => outage(world));
    }
  } else {
    const count = 1 + world.pick(5);
    for (let i = 0; i < count; i++) world.after(world.pick(LONGEST), () => trouble(world));
  }
  world.runUntil(TROUBLED);
  if (kind === "safe") return;
  for (const slot of world.slots) heal(slot);
  world.runUntil(TROUBLED + HEALED);
  for (const flow of flows) expectOneRunner(world, flow);
}

/** Something goes wrong around one process, for a while. */
function trouble(world: World): void {
  const slot = world.slots[world.pick(world.slots.length)]!;
  const { trouble } = slot;
  const kinds = KINDS;
  const kind = kinds[world.pick(kinds.length)]!;
  const length = 500 + world.pick(LONGEST - 500);
  const undo = (run: () => void) => world.after(length, run);
  world.note(slot, `${kind} for ${length}`);
  switch (kind) {
    case "pause":
      trouble.pausedUntil = Math.max(trouble.pausedUntil, world.now + length);
      break;
    case "suspend":
      slot.monotonic();
      trouble.suspended = true;
      trouble.pausedUntil = Math.max(trouble.pausedUntil, world.now + length);
      break;
    case "cut":
      trouble.loseRequests = trouble.loseAnswers = true;
      undo(() => trouble.loseRequests = trouble.loseAnswers = false);
      break;
    case "deaf":
      trouble.loseAnswers = true;
      undo(() => trouble.loseAnswers = false);
      break;
    case "blind":
      trouble.watchBroken = true;
      undo(() => trouble.watchBroken = false);
      break;
    case "slow":
      trouble.slow = length;
      undo(() => trouble.slow = 0);
      break;
    case "stale":
      trouble.stale = length;
      undo(() => trouble.stale = 0);
      break;
    case "step":
      // Turned back unseen while it is suspended, a machine could not know that time has passed.
      if (trouble.pausedUntil > world.now) break;
      slot.wallOffset += world.pick(120_000) - 60_000;
      world.inside(slot.inc, () => void slot.inc.members.mayRun());
      break;
    case "kill":
      if (!slot.inc.dead) world.kill(slot, length / 2);
      break;
    case "exit":
      if (!slot.inc.dead) world.exit(slot, length / 2);
      break;
    case "stand down":
      standDown(world, slot, length);
      break;
    case "outage":
      outage(world);
      break;
  }
}

const KINDS = [
  "pause",
  "pause",
  "suspend",
  "cut",
  "cut",
  "deaf",
  "blind",
  "slow",
  "stale",
  "step",
  "kill",
  "exit",
  "stand down",
  "outage",
] as const;

/** The store is away from everybody. */
function outage(world: World): void {
  const length = 500 + world.pick(LONGEST - 500);
  const lose = (away: boolean) => {
    for (const { trouble } of world.slots) trouble.loseRequests = trouble.loseAnswers = away;
  };
  world.note(world.slots[0]!, `outage for ${length}`);
  lose(true);
  world.after(length, () => lose(false));
}

function standDown(world: World, slot: Slot, length: number): void {
  const { inc } = slot;
  const flow = world.flows[world.pick(world.flows.length)]!;
  world.inside(inc, () => world.withdraw(inc, flow));
  world.after(length, () => world.inside(inc, () => !inc.leaving && inc.flows.stand(flow)));
}

function heal(slot: Slot): void {
  const { trouble, world } = slot;
  trouble.pausedUntil = Math.min(trouble.pausedUntil, world.now);
  trouble.loseRequests = trouble.loseAnswers = trouble.watchBroken = false;
  trouble.slow = trouble.stale = 0;
}

/** At the latest when a hand-over that may be under way has ended. */
function expectOneRunner(world: World, flow: string): void {
  for (let patience = 10; patience >= 0; patience--) {
    const count = world.slots.filter(({ inc }) => isRunning(inc, flow)).length;
    if (count === 1) return;
    if (count > 1 || patience === 0) {
      throw new Violation(`${flow} is run by ${count} nodes when all is well again`);
    }
    world.runUntil(world.now + 1_000);
  }
}

function isRunning({ turns, members }: Incarnation, flow: string): boolean {
  const turn = turns.get(flow);
  return turn !== undefined && !turn.over && members.mayRun();
}

/** Runs a schedule, and says how it went wrong, step by step, if it did. */
export function checkSchedule(seed: number, kind: ScheduleOptions["kind"]): void {
  try {
    runSchedule(seed, { kind });
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    const trace: string[] = [];
    try {
      runSchedule(seed, { kind, trace });
    } catch {
      // The same again.
    }
    const steps = trace.slice(-120).join("\n");
    throw new Error(`Schedule ${seed} (${kind}): ${error.message}\n${steps}`, { cause: error });
  }
}
