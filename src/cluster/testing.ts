import { type Clock, settle, type TestClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { type Log, silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import type { Candidacy, Candidate, Term } from "../flow/cluster.ts";
import type { Entry, Store } from "../flow/store.ts";
import { type ClusterNode, joinCluster } from "./join.ts";

/** A way to a shared store that can be cut, or made to swallow answers; counts what goes through. */
export class Line {
  cut = false;
  deaf = false;
  blind = false;
  readonly calls: string[] = [];
  readonly store: Store;

  constructor(shared: Store) {
    const ask = async <T>(name: string, run: () => Promise<T>): Promise<T> => {
      this.calls.push(name);
      if (this.cut) throw unavailable();
      const answer = await run();
      if (this.deaf) throw unavailable();
      return answer;
    };
    // deno-lint-ignore no-this-alias
    const line = this;
    this.store = {
      get: (key) => ask("get", () => shared.get(key)),
      put: (key, value, expiry) => ask("put", () => shared.put(key, value, expiry)),
      create: (key, value, expiry) => ask("create", () => shared.create(key, value, expiry)),
      update: (...given) => ask("update", () => shared.update(...given)),
      delete: (key, seen) => ask("delete", () => shared.delete(key, seen)),
      async *list(prefix) {
        yield* await ask<Entry[]>("list", () => Array.fromAsync(shared.list(prefix)));
      },
      async *watch(prefix, signal) {
        for await (const key of shared.watch(prefix, signal)) {
          if (!line.cut && !line.blind) yield key;
        }
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
}

function unavailable(): FlowError {
  return new FlowError("store.unavailable", "Cannot reach the store");
}

/** A candidate that writes down what it is told, and ends when it is let. */
export class Runner implements Candidate {
  term: Term | null = null;
  readonly calls: string[] = [];
  /** What a drain and a loss wait for. */
  ending: Promise<void> = Promise.resolve();

  constructor(readonly flow: string) {}

  get mayRun(): boolean {
    return this.term?.mayRun() ?? false;
  }

  start(term: Term): void {
    this.calls.push("start");
    this.term = term;
  }

  async drain(): Promise<void> {
    this.calls.push("drain");
    await this.ending;
    this.term = null;
  }

  async lose(): Promise<void> {
    this.calls.push("lose");
    await this.ending;
  }
}

/** A node with the candidates it stands with. */
export class Member implements AsyncDisposable {
  readonly runners: Runner[] = [];
  readonly candidacies: Candidacy[] = [];

  constructor(readonly node: ClusterNode, readonly line: Line) {}

  stand(count: number): void {
    for (let i = 0; i < count; i++) this.standFor(new Runner(`demo/${i}`));
  }

  standFor(runner: Runner): Runner {
    this.runners.push(runner);
    this.candidacies.push(this.node.stand(runner.flow, runner));
    return runner;
  }

  /** Flows it may run now. */
  get running(): string[] {
    return this.runners.filter((runner) => runner.mayRun).map((runner) => runner.flow);
  }

  /** How many of them. */
  get share(): number {
    return this.running.length;
  }

  /** Ends in order. */
  async exit(): Promise<void> {
    for (const candidacy of this.candidacies.splice(0)) await candidacy.withdraw();
    await this.node.leave();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node.leave();
  }
}

/** A test clock whose clock on the wall can be set. */
export class StepClock implements Clock {
  offset = 0;
  constructor(readonly clock: TestClock) {}
  now = () => this.clock.now() + this.offset;
  monotonic = () => this.clock.monotonic();
  after = (ms: number, run: () => void) => this.clock.after(ms, run);
}

export interface TestJoin {
  readonly shared: Store;
  readonly clock: Clock;
  readonly id?: string;
  readonly log?: Log;
  readonly lease?: number;
}

/** Joins with the default times: a lease of 6 s, renewed every 2 s. */
export async function joinTest(
  { shared, clock, id, log = silentLog, lease = 6_000 }: TestJoin,
): Promise<Member> {
  const line = new Line(shared);
  const node = await joinCluster({
    store: line.store,
    clock,
    random: seededRandom(1),
    log,
    version: "1.2.3",
    host: "here",
    lease,
    renew: 2_000,
    newId: nextIdOf(id ?? "node"),
  });
  await settle();
  return new Member(node, line);
}

let ids = 0;

function nextIdOf(name: string): () => string {
  return () => `${name}-${++ids}`;
}
