import assert from "node:assert/strict";
import { sleep, systemClock, TestClock, turn } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { silentLog } from "../core/log.ts";
import { snapshotFile } from "../flow/snapshot_file.ts";
import type { Snapshot, SnapshotProblem } from "../flow/source.ts";
import type { Entry, Expiry, Key, Revision, Store } from "../flow/store.ts";
import type { WorkspaceFinding } from "../flow/workspace.ts";
import type { FlowSnapshot } from "../reconcile/load_flows.ts";
import { MemoryStore } from "../store/memory.ts";
import { DELETED_AFTER } from "./blobs.ts";
import { collectBlobs } from "./collector.ts";
import { WorkspaceSource } from "./source.ts";
import { StoreWorkspaces } from "./workspaces.ts";

/** A snapshot as a source gives it, from texts by path. */
export function snapshotOf(
  version: string,
  files: Readonly<Record<string, string>>,
  problems: readonly SnapshotProblem[] = [],
): Snapshot {
  const encoder = new TextEncoder();
  const made = Object.entries(files).map(([path, text]) =>
    [path, snapshotFile(path, path, encoder.encode(text))] as const
  );
  return { version, files: new Map(made), problems };
}

/** Calls a flow broken when its text says so. */
export function checkByText(_name: string, { files }: FlowSnapshot): Promise<WorkspaceFinding[]> {
  const broken = [...files.values()].filter((file) => file.text().includes("broken"));
  return Promise.resolve(broken.map(({ path, file }) => ({
    identity: path,
    error: new FlowError("config.unknown_key", "It is broken", {
      position: { file, line: 3, column: 7 },
    }),
  })));
}

/** Workspaces over a store that a test can step into. */
export function setUp(store?: Store) {
  const clock = new TestClock();
  const inner = store ?? new MemoryStore({ clock });
  const hooked = new HookedStore(inner);
  const publisher = () =>
    new StoreWorkspaces({ store: hooked, clock, log: silentLog, check: checkByText });
  const reader = (name = "demo") => new WorkspaceSource({ store: hooked, name, clock });
  const workspaces = publisher();
  const publish = async (version: string, files: Record<string, string>, more = {}) =>
    await workspaces.publish("demo", snapshotOf(version, files), more);
  /** Texts of what a fresh reader sees, by path. */
  const seen = async () => textsOf(await reader().read(null));
  return { clock, store: hooked, workspaces, publisher, reader, publish, seen };
}

export function textsOf(snapshot: FlowSnapshot | null): Record<string, string> {
  return Object.fromEntries([...snapshot!.files].map(([path, file]) => [path, file.text()]));
}

/** Waits for what other threads work on, such as digests; the test's clock stands still. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let turns = 0; turns < 10_000; turns++) {
    if (await holds()) return;
    await (turns < 1_000 ? turn() : sleep(systemClock, 1));
  }
  throw new Error("It did not come to pass");
}

type Operation = "get" | "put" | "create" | "update" | "delete" | "list";

/** A store in front of which a test does something at the worst moment. */
export class HookedStore implements Store {
  /** Called before each operation, by name and key. */
  hook: (operation: Operation, key: Key) => void | Promise<void> = () => {};

  constructor(readonly inner: Store) {}

  /** Runs `action` once, before the first operation that `when` picks. */
  once(when: (operation: Operation, key: Key) => boolean, action: () => unknown): void {
    this.hook = async (operation, key) => {
      if (!when(operation, key)) return;
      this.hook = () => {};
      await action();
    };
  }

  async get(key: Key): Promise<Entry | null> {
    await this.hook("get", key);
    return await this.inner.get(key);
  }
  async put(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision> {
    await this.hook("put", key);
    return await this.inner.put(key, value, expiry);
  }
  async create(key: Key, value: Uint8Array, expiry?: Expiry): Promise<Revision | null> {
    await this.hook("create", key);
    return await this.inner.create(key, value, expiry);
  }
  async update(
    key: Key,
    value: Uint8Array,
    seen: Revision,
    expiry?: Expiry,
  ): Promise<Revision | null> {
    await this.hook("update", key);
    return await this.inner.update(key, value, seen, expiry);
  }
  async delete(key: Key, seen?: Revision): Promise<boolean> {
    await this.hook("delete", key);
    return await this.inner.delete(key, seen);
  }
  async *list(prefix: Key): AsyncGenerator<Entry> {
    await this.hook("list", prefix);
    yield* this.inner.list(prefix);
  }
  watch(prefix: Key, signal: AbortSignal): AsyncIterable<Key | null> {
    return this.inner.watch(prefix, signal);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]();
  }
}

/**
 * What workspaces promise on every kind of store. `open` gives an empty one.
 *
 * @param switches How often a version is replaced while others read it, which takes its time on disk.
 */
export function testWorkspaces(
  name: string,
  open: () => Store | Promise<Store>,
  { switches }: { switches: number },
): void {
  const test = (sentence: string, run: (given: ReturnType<typeof setUp>) => Promise<void>) =>
    Deno.test(`${name}: ${sentence}`, async () => {
      await using store = await open();
      await run(setUp(store));
    });

  test("a version is published, replaced, and gone back to", async (given) => {
    const { publish, workspaces, seen } = given;
    await publish("1", { "flows/a.yaml": "one", "resources/q.sql": "select 1" });
    await publish("2", { "flows/a.yaml": "two", "flows/b.yaml": "new" });
    assert.deepEqual(await seen(), { "a.yaml": "two", "b.yaml": "new" });
    const back = await workspaces.rollback("demo");
    assert.deepEqual([back.version, back.active], ["1", "1"]);
    assert.deepEqual(await seen(), { "a.yaml": "one" });
    const [view] = await workspaces.list();
    assert.deepEqual(view!.versions.map(({ version, state }) => [version, state]), [
      ["2", "rolled_back"],
      ["1", "active"],
    ]);
  });

  test("of ten publishers of one version one wins, and all tell the same", async (given) => {
    const { publisher, workspaces, seen } = given;
    const files = { "flows/a.yaml": "one", "flows/b.yaml": "two" };
    const results = await Promise.all(
      Array.from({ length: 10 }, () => publisher().publish("demo", snapshotOf("1", files))),
    );
    assert.deepEqual(results.map(({ active }) => active), Array(10).fill("1"));
    assert.equal(results.filter(({ outcome }) => outcome === "activated").length, 1);
    assert.equal((await workspaces.list())[0]!.versions.length, 1);
    assert.deepEqual(await seen(), { "a.yaml": "one", "b.yaml": "two" });
  });

  test("files of any size and content come back as they were", async (given) => {
    const { workspaces, reader } = given;
    const bytes = crypto.getRandomValues(new Uint8Array(60_000));
    const file = snapshotFile("resources/x.bin", "x", bytes);
    const empty = snapshotFile("resources/empty", "empty", new Uint8Array());
    const files = new Map([[file.path, file], [empty.path, empty]]);
    await workspaces.publish("demo", { version: "1", files, problems: [] });
    const { resources } = (await reader().read(null))!;
    assert.deepEqual(resources!.get("x.bin")!.bytes(), bytes);
    assert.equal(resources!.get("empty")!.bytes().length, 0);
  });

  test("readers see a commit of 50 files whole or not at all, whenever it switches", async (given) => {
    const { publish, clock, store } = given;
    const commit = (n: number) =>
      Object.fromEntries(
        Array.from({ length: 50 }, (_, at) => [`flows/f${at}.yaml`, `commit ${n}, file ${at}`]),
      );
    await publish("0", commit(0));
    let isOver = false;
    const readers = Array.from({ length: 3 }, () => readInALoop(given.reader(), () => isOver));
    for (const reader of readers) reader.catch(() => {}); // heard below
    try {
      for (let n = 1; n <= switches; n++) {
        await publish(String(n), commit(n));
        // Blobs of versions that are gone go too, under the readers' hands.
        if (n % 50 !== 0) continue;
        await clock.advance(DELETED_AFTER + 1);
        await collectBlobs({ store, clock, log: silentLog });
      }
    } finally {
      isOver = true;
    }
    const seen = await Promise.all(readers);
    assert.ok(Math.min(...seen) > 10, `readers saw ${seen} versions`);
  });

  test("a reader hears of a version", async (given) => {
    const { reader, publish, clock } = given;
    const ended = new AbortController();
    const nudges = reader().watch(ended.signal)[Symbol.asyncIterator]();
    assert.equal((await nudges.next()).done, false, "the first comes at once");
    const next = nudges.next();
    await publish("1", { "flows/a.yaml": "one" });
    let heard = false;
    void next.then(() => heard = true);
    // The store may take its time; ours is the test's.
    await until(async () => {
      await clock.advance(10);
      return heard;
    });
    assert.equal((await next).done, false);
    ended.abort();
    await nudges.return?.();
  });
}

/** Reads until `isOver`, each time from nothing; gives how many versions were seen, all of them whole. */
async function readInALoop(source: WorkspaceSource, isOver: () => boolean): Promise<number> {
  const versions = new Set<string>();
  while (!isOver()) {
    const snapshot = (await source.read(null))!;
    const texts = Object.values(textsOf(snapshot));
    const commits = new Set(texts.map((text) => text.split(",")[0]));
    assert.equal(texts.length, 50);
    assert.equal(commits.size, 1, `a mixture of ${[...commits].join(" and ")}`);
    versions.add(snapshot.version);
    await turn();
  }
  return versions.size;
}
