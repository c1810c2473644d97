import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { type Log, silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import type { Snapshot, Source } from "../flow/source.ts";
import { flowOf } from "../engine/testing.ts";
import type { Wanted } from "./desired.ts";
import { type FlowPart, FlowSources, RANK } from "./flow_sources.ts";

/** A source of flows that are only identities; the digest says which source and version they are of. */
class HandSource implements Source {
  version = 1;
  trouble: FlowError | null = null;
  /** Resolves what `read` waits for. */
  gate: Promise<void> = Promise.resolve();
  #nudge: () => void = () => {};
  reads = 0;
  /** What it could not give, of no flow in particular. */
  left: string[] = [];

  constructor(readonly name: string, public identities: readonly string[]) {}

  async read(): Promise<Snapshot> {
    this.reads++;
    await this.gate;
    if (this.trouble) throw this.trouble;
    const problems = this.left.map((message) => ({
      error: new FlowError("source.link_skipped", message),
    }));
    return { version: String(this.version), files: new Map(), problems };
  }

  async *watch(signal: AbortSignal): AsyncGenerator<void> {
    while (!signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#nudge = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      if (!signal.aborted) yield;
    }
  }

  change(identities: readonly string[]): void {
    this.identities = identities;
    this.version++;
    this.#nudge();
  }

  part(rank: number): FlowPart {
    const { name } = this;
    const load = () =>
      Promise.resolve(this.identities.map((identity): Wanted => ({
        identity,
        source: name,
        file: `${name}:${identity}.yaml`,
        flow: { ...flowOf([]), identity, digest: `${name} ${this.version}` },
      })));
    return { rank, source: this, beside: [], loader: { source: name, load } };
  }
}

function setUp(...parts: FlowPart[]) {
  const clock = new TestClock();
  const ended = new AbortController();
  const applied: string[][] = [];
  const told: string[] = [];
  const tell = (message: string, fields?: Record<string, unknown>) =>
    void told.push(fields ? `${message}: ${fields.source} ${fields.code}` : message);
  const log: Log = { ...silentLog, warning: tell, error: tell };
  const sources = new FlowSources({
    reconciler: {
      apply(wanted) {
        applied.push(
          wanted.map(({ flow, identity }) => `${identity} ${(flow as never)["digest"]}`),
        );
        return Promise.resolve();
      },
    },
    clock,
    random: seededRandom(1),
    log,
    signal: ended.signal,
  });
  for (const part of parts) sources.add(part);
  let watching: Promise<void> | undefined;
  return {
    clock,
    sources,
    applied,
    told,
    watch: () => void (watching = sources.watch()),
    async end() {
      ended.abort();
      await watching;
      assert.equal(clock.pending, 0, "a timer is left");
    },
  };
}

Deno.test("files go before workspaces in the order of the configuration, then single keys", async () => {
  const keys = new HandSource("store", ["a", "b", "c", "d"]);
  const second = new HandSource("workspace:alpha", ["a", "b", "c"]);
  const first = new HandSource("workspace:zulu", ["a", "b"]);
  const files = new HandSource("files", ["a"]);
  const { sources, applied } = setUp(
    keys.part(RANK.keys),
    second.part(RANK.configured + 1),
    first.part(RANK.configured),
    files.part(RANK.files),
  );
  await sources.load();
  assert.deepEqual(applied, [[
    "a files 1",
    "b workspace:zulu 1",
    "c workspace:alpha 1",
    "d store 1",
  ]]);
});

Deno.test("who loses is in the status with the winner's name, and nobody's flow is touched", async () => {
  const files = new HandSource("files", ["a"]);
  const workspace = new HandSource("workspace:demo", ["a", "b"]);
  const { sources, told, clock, applied, watch, end } = setUp(
    files.part(RANK.files),
    workspace.part(RANK.configured),
  );
  await sources.load();
  watch();
  const [loser, ...others] = sources.shadowed();
  assert.deepEqual(others, []);
  assert.deepEqual([loser!.identity, loser!.source, loser!.state, loser!.running], [
    "a",
    "workspace:demo",
    "invalid",
    null,
  ]);
  assert.deepEqual(loser!.error, {
    code: "flow.shadowed",
    message: 'The flow "a" of workspace:demo does not run: files has one of the same name',
    hint: "rename one of the two, or give the source a prefix in config.yaml",
    position: { file: "workspace:demo:a.yaml", line: 1, column: 1 },
  });
  const { since } = loser!;
  await clock.advance(5_000);
  workspace.change(["a", "b", "c"]);
  await settle(10);
  assert.equal(sources.shadowed()[0]!.since, since);
  assert.deepEqual(told, [loser!.error!.message], "told once");
  files.change([]);
  await settle(10);
  assert.deepEqual(sources.shadowed(), []);
  assert.deepEqual(applied.at(-1), [
    "a workspace:demo 2",
    "b workspace:demo 2",
    "c workspace:demo 2",
  ]);
  await end();
});

Deno.test("what all sources hold at the start is one set", async () => {
  const [files, workspace] = [new HandSource("files", ["a"]), new HandSource("workspace:x", ["a"])];
  const opened = Promise.withResolvers<void>();
  files.gate = opened.promise;
  const { sources, applied } = setUp(files.part(RANK.files), workspace.part(RANK.configured));
  const loaded = sources.load();
  await settle(10);
  assert.deepEqual(applied, [], "the workspace's flow must not run for a moment");
  opened.resolve();
  await loaded;
  assert.deepEqual(applied, [["a files 1"]]);
});

Deno.test("a source that does not answer at the start delays the others by two seconds at most", async () => {
  const [slow, quick] = [new HandSource("workspace:slow", ["s"]), new HandSource("files", ["q"])];
  const opened = Promise.withResolvers<void>();
  slow.gate = opened.promise;
  const { sources, applied, clock } = setUp(quick.part(RANK.files), slow.part(RANK.configured));
  const loaded = sources.load();
  await clock.advance(2_000);
  await loaded;
  assert.deepEqual(applied, [["q files 1"]]);
  opened.resolve();
  await settle(10);
  assert.deepEqual(applied.at(-1), ["q files 1", "s workspace:slow 1"]);
});

Deno.test("a source that fails late at the start is read again too", async () => {
  const [slow, quick] = [new HandSource("workspace:slow", ["s"]), new HandSource("files", ["q"])];
  const opened = Promise.withResolvers<void>();
  slow.gate = opened.promise;
  slow.trouble = new FlowError("store.unavailable", "the store is away");
  const { sources, applied, clock, end } = setUp(quick.part(0), slow.part(1));
  const loaded = sources.load();
  await clock.advance(2_000);
  await loaded;
  opened.resolve();
  await settle(10);
  slow.trouble = null;
  await clock.advance(2_000);
  assert.deepEqual(applied.at(-1), ["q files 1", "s workspace:slow 1"]);
  await end();
});

Deno.test("a source in trouble keeps what it gave, holds up nobody, and is read again", async () => {
  const [bad, good] = [new HandSource("workspace:bad", ["x"]), new HandSource("files", ["a"])];
  const { sources, applied, clock, told, watch, end } = setUp(
    good.part(RANK.files),
    bad.part(RANK.configured),
  );
  await sources.load();
  watch();
  await settle();
  bad.trouble = new FlowError("store.unavailable", "the store is away");
  bad.change(["y"]);
  await settle(10);
  good.change(["b"]);
  await settle(10);
  assert.deepEqual(applied.at(-1), ["b files 2", "x workspace:bad 1"]);
  assert.deepEqual(told, ["Cannot read the flows: workspace:bad store.unavailable"]);
  bad.trouble = null;
  await clock.advance(2_000);
  assert.deepEqual(applied.at(-1), ["b files 2", "y workspace:bad 2"]);
  await end();
});

Deno.test("what a source leaves out is told once, and again when it had been mended", async () => {
  const files = new HandSource("files", ["a"]);
  const { sources, told, watch, end } = setUp(files.part(RANK.files));
  files.left = ["x is a link"];
  await sources.load();
  watch();
  await settle();
  for (const left of [["x is a link"], ["x is a link", "y is a link"], [], ["x is a link"]]) {
    files.left = left;
    files.change(["a"]);
    await settle(10);
  }
  const [x, y] = ["x", "y"].map((name) => `source.link_skipped\n${name} is a link`);
  assert.deepEqual(told, [x, y, x]);
  await end();
});

Deno.test("a source that is in trouble at the start follows later", async () => {
  const [bad, good] = [new HandSource("workspace:bad", ["x"]), new HandSource("files", ["a"])];
  bad.trouble = new FlowError("store.unavailable", "the store is away");
  const { sources, applied, clock, end } = setUp(good.part(0), bad.part(1));
  await sources.load();
  assert.deepEqual(applied, [["a files 1"]]);
  bad.trouble = null;
  await clock.advance(2_000);
  assert.deepEqual(applied.at(-1), ["a files 1", "x workspace:bad 1"]);
  await end();
});

Deno.test("a nudge ends the pause after a failure", async () => {
  const bad = new HandSource("workspace:bad", ["x"]);
  const { sources, applied, watch, clock, told, end } = setUp(bad.part(1));
  await sources.load();
  watch();
  await settle();
  bad.trouble = new FlowError("store.unavailable", "the store is away");
  bad.change(["y"]);
  for (let n = 0; n < 6; n++) await clock.advance(30_000);
  bad.trouble = null;
  bad.change(["z"]);
  await settle(10);
  assert.deepEqual(applied.at(-1), ["z workspace:bad 3"]);
  assert.deepEqual(told, ["Cannot read the flows: workspace:bad store.unavailable"], "told once");
  bad.trouble = new FlowError("store.unavailable", "the store is away");
  bad.change([]);
  await settle(10);
  assert.equal(told.length, 2, "and again when it was well in between");
  await end();
});

Deno.test("when nothing can be read the start fails with the reason", async () => {
  const files = new HandSource("files", []);
  files.trouble = new FlowError("source.unreadable", "Cannot list the flow files in x");
  const { sources, applied } = setUp(files.part(0));
  await assert.rejects(sources.load(), { code: "source.unreadable" });
  assert.deepEqual(applied, []);
});

Deno.test("a source that is added while others run is read and followed", async () => {
  const [files, added] = [new HandSource("files", ["a"]), new HandSource("workspace:new", ["n"])];
  const { sources, applied, watch, end } = setUp(files.part(0));
  await sources.load();
  watch();
  sources.add(added.part(RANK.published));
  await settle(10);
  assert.deepEqual(applied.at(-1), ["a files 1", "n workspace:new 1"]);
  added.change(["m"]);
  await settle(10);
  assert.deepEqual(applied.at(-1), ["a files 1", "m workspace:new 2"]);
  await end();
});

Deno.test("without sources the set is empty", async () => {
  const { sources, applied } = setUp();
  await sources.load();
  assert.deepEqual(applied, [[]]);
});

Deno.test("a source that is not to be watched is read once", async () => {
  const files = new HandSource("files", ["a"]);
  const { sources, applied, watch, end } = setUp({ ...files.part(0), watch: false });
  await sources.load();
  watch();
  await settle();
  files.change(["b"]);
  await settle(10);
  assert.equal(files.reads, 1);
  assert.deepEqual(applied, [["a files 1"]]);
  await end();
});
