import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { type FsChange, type Watcher, watchFolder } from "./watch.ts";

/** A watcher whose events come from the test. */
class FakeWatcher implements Watcher {
  #queue: FsChange[] = [];
  #wake = () => {};
  #closed = false;
  constructor(readonly path: string, readonly recursive: boolean) {}

  say(kind: string, path = `${this.path}/a.yaml`): void {
    this.#queue.push({ kind, paths: [path] });
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  get closed(): boolean {
    return this.#closed;
  }

  async *[Symbol.asyncIterator]() {
    while (!this.#closed) {
      const next = this.#queue.shift();
      if (next) yield next;
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}

interface Bench {
  readonly clock: TestClock;
  readonly folder: string;
  readonly watchers: FakeWatcher[];
  /** Nudges so far; the one that comes at the start is not counted. */
  count(): number;
  look: string;
}

async function watching(run: (bench: Bench) => Promise<void>, below = ""): Promise<void> {
  const folder = await Deno.makeTempDir();
  const clock = new TestClock();
  const stop = new AbortController();
  const watchers: FakeWatcher[] = [];
  let nudges = -1;
  const bench: Bench = { clock, folder, watchers, count: () => nudges, look: "same" };
  const loop = (async () => {
    for await (
      const _ of watchFolder({
        path: `${folder}${below}`,
        clock,
        signal: stop.signal,
        fingerprint: () => Promise.resolve(bench.look),
        watchFs: (path, { recursive }) => {
          const watcher = new FakeWatcher(path, recursive);
          watchers.push(watcher);
          return watcher;
        },
      })
    ) nudges++;
  })();
  try {
    await until(() => nudges === 0);
    await run(bench);
  } finally {
    stop.abort();
    await loop;
    assert.equal(clock.pending, 0);
    assert.ok(watchers.every((watcher) => watcher.closed));
    await Deno.remove(folder, { recursive: true });
  }
}

/** Looking at the disk takes as long as it takes; a hang is ended by the test runner. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await settle(1);
}

Deno.test("events that are close together are one nudge, 100 ms after the last", () =>
  watching(async ({ clock, watchers: [watcher], count }) => {
    watcher!.say("create");
    watcher!.say("modify");
    await clock.advance(99);
    watcher!.say("modify");
    await clock.advance(99);
    assert.equal(count(), 0);
    await clock.advance(1);
    assert.equal(count(), 1);
  }));

Deno.test("events that never pause are told once a second", () =>
  watching(async ({ clock, watchers: [watcher], count }) => {
    for (let i = 0; i < 30; i++) {
      watcher!.say("modify");
      await clock.advance(50);
    }
    assert.equal(count(), 1);
    await clock.advance(100);
    assert.equal(count(), 2);
  }));

Deno.test("reading, and hidden folders other than ..data, are no change", () =>
  watching(async ({ clock, folder, watchers: [watcher], count }) => {
    watcher!.say("access");
    watcher!.say("modify", `${folder}/.git/index`);
    await clock.advance(200);
    assert.equal(count(), 0);
    watcher!.say("modify", `${folder}/..data`);
    await clock.advance(200);
    assert.equal(count(), 1);
  }));

Deno.test("a change without an event is noticed within five seconds", () =>
  watching(async (bench) => {
    await bench.clock.advance(5_000);
    await until(() => bench.clock.pending === 1);
    assert.equal(bench.count(), 0);
    bench.look = "different";
    await bench.clock.advance(5_000);
    await until(() => bench.count() === 1);
  }));

Deno.test("a folder that does not exist yet is watched through the one above, then itself", () =>
  watching(async ({ clock, folder, watchers, count }) => {
    assert.deepEqual(watchers.map(({ path, recursive }) => [path, recursive]), [[folder, false]]);
    await Deno.mkdir(`${folder}/deep/flows`, { recursive: true });
    watchers[0]!.say("create", `${folder}/deep`);
    await clock.advance(100);
    await until(() => watchers.length === 2);
    assert.deepEqual([watchers[1]!.path, watchers[1]!.recursive], [`${folder}/deep/flows`, true]);
    assert.ok(watchers[0]!.closed);
    await until(() => count() === 1);
    await clock.advance(100);
    assert.equal(count(), 2, "for what was written before the new watch was set");
  }, "/deep/flows"));
