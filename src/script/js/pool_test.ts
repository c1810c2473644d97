import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import type { FlowError } from "../../core/errors.ts";
import { silentLog } from "../../core/log.ts";
import type { Json } from "../../flow/event.ts";
import type { ScriptResult } from "../../flow/script.ts";
import { testHost, testView } from "../testing.ts";
import { type CagedScript, Job } from "./job.ts";
import { Pool } from "./pool.ts";
import type { ChildHandle, ChildListener } from "./process.ts";
import { prepare } from "./source.ts";

interface SentBatch {
  readonly id: number;
  readonly events: readonly { data: Json }[];
}

/** A child that does nothing but what the test says. */
class FakeChild implements ChildHandle {
  readonly batches: SentBatch[] = [];
  readonly heads: string[] = [];
  readonly #gone = Promise.withResolvers<void>();
  readonly gone = this.#gone.promise;

  constructor(
    readonly memory: number,
    readonly listener: ChildListener,
    readonly alive: Set<FakeChild>,
  ) {
    alive.add(this);
  }

  send(head: string, body = ""): void {
    this.heads.push(head);
    const [type, , id] = head.split(" ");
    if (type === "batch") this.batches.push({ id: Number(id), events: JSON.parse(body) });
  }

  kill(): void {
    if (!this.alive.delete(this)) return;
    this.listener.ended(false);
    this.#gone.resolve();
  }

  /** Answers the oldest batch with the data of its events. */
  answer(): void {
    const batch = this.batches.shift();
    if (!batch) return;
    const results = batch.events.map(({ data }) => ({ v: data }));
    this.listener.frame({ head: ["done", String(batch.id), "0"], body: JSON.stringify(results) });
  }
}

function testPool(children: number) {
  const clock = new TestClock();
  const alive = new Set<FakeChild>();
  let most = 0;
  let id = 0;
  const pool = new Pool({
    async start(memory, listener) {
      const child = new FakeChild(memory, listener, alive);
      most = Math.max(most, alive.size);
      return child;
    },
    children,
    clock,
    log: silentLog,
  });
  return {
    pool,
    clock,
    /** Children that live, each by its heap. */
    heaps: () => [...alive].map(({ memory }) => memory),
    child: (memory: number) => [...alive].find((child) => child.memory === memory)!,
    children: () => [...alive],
    most: () => most,
    script(memory: number, code = "return event.data"): CagedScript {
      const source = { code, language: "js", flow: "test/flow", task: "transform" } as const;
      const limits = { timeout: 5_000, memory, output: 1_000 };
      const script = { id: ++id, source, prepared: prepare(source), host: testHost(), ...limits };
      pool.add(script);
      return script;
    },
    /** What becomes of each event: its value, or the code of its error. */
    push(script: CagedScript, count = 1): { jobs: Job[]; fates: Json[] } {
      const fates: Json[] = [];
      const jobs = Array.from({ length: count }, (_, n) => {
        const resolve = (result: ScriptResult) =>
          void (fates[n] = result.kind === "value" ? result.value : result.kind);
        const reject = (cause: unknown) => void (fates[n] = (cause as FlowError).code);
        return new Job(script, testView(n), resolve, reject);
      });
      for (const job of jobs) pool.push(job);
      return { jobs, fates };
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  };
}

Deno.test("children of all heap sizes together stay within their number", async () => {
  await using test = testPool(2);
  const pushed = [1, 2, 3, 4, 5, 6, 7].map((memory) => test.push(test.script(memory)));
  for (let round = 0; round < 7; round++) {
    await settle();
    for (const child of test.children()) child.answer();
  }
  await settle();
  assert.deepEqual(pushed.map(({ fates }) => fates), pushed.map(() => [0]));
  assert.equal(test.most(), 2);
});

Deno.test("a busy heap size gives its place to one that has none after its turn, and gets it back", async () => {
  await using test = testPool(1);
  const busy = test.script(1);
  const first = test.push(busy, 600);
  await settle();
  const other = test.push(test.script(2));
  await test.clock.advance(999);
  test.child(1).answer();
  const later = test.push(busy, 100);
  await settle();
  assert.equal(test.child(1).batches.length, 3, "it may go on until then");
  await test.clock.advance(100);
  const last = test.push(busy, 300);
  await settle();
  assert.equal(test.child(1).batches.length, 3, "what it has begun is finished, and no more");
  for (let i = 0; i < 3; i++) test.child(1).answer();
  await settle();
  assert.deepEqual(test.heaps(), [2]);
  assert.deepEqual([first.fates.length, later.fates.length], [600, 100]);
  test.child(2).answer();
  await settle();
  assert.deepEqual(other.fates, [0]);
  assert.deepEqual(test.heaps(), [1]);
  test.child(1).answer();
  await settle();
  test.child(1).answer();
  assert.equal(last.fates.length, 300);
  assert.equal(test.most(), 1);
});

Deno.test("a heap size that wants more children takes idle ones, but no other's last", async () => {
  await using test = testPool(3);
  const [first, second] = [test.script(1), test.script(2)];
  const run = async (script: CagedScript) => {
    test.push(script);
    await settle();
  };
  for (let i = 0; i < 3; i++) await run(first);
  assert.deepEqual(test.heaps(), [1, 1, 1]);
  for (const child of test.children()) child.answer();
  for (let i = 0; i < 4; i++) await run(second);
  assert.deepEqual(test.heaps(), [1, 2, 2]);
});

Deno.test("a new version of a script that has cost its child starts afresh", async () => {
  await using test = testPool(1);
  const bad = test.script(1);
  const { fates } = test.push(bad);
  await settle();
  test.child(1).listener.at(1, 0, 5_000);
  await settle();
  assert.deepEqual(fates, ["script.timeout"]);
  test.push(bad, 2);
  await settle();
  const [careful] = test.children();
  assert.equal(careful!.batches[0]!.events.length, 1, "one at a time");
  careful!.answer();
  careful!.answer();
  test.pool.remove(bad);
  test.push(test.script(1), 2);
  await settle();
  assert.deepEqual(test.children().map(({ batches }) => batches.at(-1)?.events.length), [1, 2]);
});

Deno.test("an event after a quiet minute has its deadline too", async () => {
  await using test = testPool(1);
  const waits = test.script(1, "await event.data; return 1");
  test.push(waits);
  await settle();
  test.child(1).answer();
  await test.clock.advance(1_000);
  test.push(waits);
  await settle();
  const child = test.child(1);
  child.listener.frame({ head: ["started", "2", "0"], body: "" });
  await test.clock.advance(5_000);
  assert.ok(!child.heads.some((head) => head.startsWith("cancel")));
  await test.clock.advance(100);
  assert.equal(child.heads.at(-1), "cancel test%2Fflow 2 0");
});

Deno.test("an event that is given up leaves its child to others", async () => {
  await using test = testPool(1);
  const waits = test.script(1, "await event.data; return 1");
  const given = test.push(waits);
  await settle();
  const child = test.child(1);
  child.listener.frame({ head: ["started", "1", "0"], body: "" });
  given.jobs[0]!.fail(new Error("enough"));
  const next = test.push(waits);
  await test.clock.advance(50);
  assert.equal(child.heads.at(-1), "cancel test%2Fflow 1 0");
  const result = '["r",1,0,{"x":["script.timeout","",null,0]}]';
  child.listener.frame({ head: ["items", "test%2Fflow"], body: `[${result}]` });
  await settle();
  child.batches.shift();
  child.answer();
  assert.deepEqual(next.fates, [0]);
});

Deno.test("a context that has compiled many scripts is made anew, since it never forgets them", async () => {
  await using test = testPool(1);
  const keep = test.script(1);
  for (let n = 0; n <= 300; n++) {
    const { fates } = test.push(n % 50 === 0 ? keep : test.script(1));
    await settle(2);
    test.children()[0]!.answer();
    await settle(2);
    assert.deepEqual(fates, [0]);
  }
  const { heads } = test.children()[0]!;
  const types = heads.map((head) => head.split(" ")[0]);
  assert.equal(types.filter((type) => type === "forget-flow").length, 1);
  const installs = heads.filter((head) => head.split(" ")[2] === String(keep.id));
  assert.equal(
    installs.filter((head) => head.startsWith("install")).length,
    2,
    "and again in there",
  );
});
