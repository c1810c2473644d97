import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import type { Store } from "../flow/store.ts";
import { DenoKvStore } from "./deno_kv.ts";
import { Blobs } from "./kv/blobs.ts";
import { openDenoKv } from "./open.ts";
import { testStore } from "./testing.ts";

const folder = Deno.makeTempDirSync({ prefix: "flowgen-store-" });
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

let files = 0;
const newPath = () => `${folder}/${++files}.sqlite3`;
const never = new AbortController().signal;

const kvs = new WeakMap<Store, Deno.Kv>();
testStore("deno_kv", async ({ clock }) => {
  const kv = await Deno.openKv(":memory:");
  const store = new DenoKvStore({ kv, clock });
  kvs.set(store, kv);
  return store;
}, { second: (first, { clock }) => new DenoKvStore({ kv: kvs.get(first)!, clock }) });

testStore("deno_kv in a file", ({ clock }) => openDenoKv(newPath(), clock));

testStore("deno_kv hosted", async ({ clock }) => {
  const kv = await Deno.openKv(":memory:");
  const store = new DenoKvStore({ kv, clock, hosted: true });
  kvs.set(store, kv);
  return store;
}, {
  second: (first, { clock }) => {
    // Another object, so that nothing in this process but Deno KV itself connects the two.
    return new DenoKvStore({ kv: spy(kvs.get(first)!, { close: false }), clock, hosted: true });
  },
});

/** Everything in a Deno KV besides the heads of entries. */
async function besidesHeads(kv: Deno.Kv): Promise<Deno.KvKey[]> {
  const all = await Array.fromAsync(kv.list({ prefix: [] }));
  return all.map(({ key }) => key).filter(([room]) => room !== "s");
}

async function memory(): Promise<{ kv: Deno.Kv; clock: TestClock; store: DenoKvStore }> {
  const kv = await Deno.openKv(":memory:");
  const clock = new TestClock();
  return { kv, clock, store: new DenoKvStore({ kv, clock }) };
}

Deno.test("deno_kv: parts of a replaced or deleted value are removed with it", async () => {
  const { kv, store } = await memory();
  await using _ = store;
  const large = (parts: number) => new Uint8Array(parts * 65_536);
  await store.put(["a"], large(3));
  assert.equal((await besidesHeads(kv)).length, 1 + 3);
  await store.put(["a"], large(30));
  assert.equal((await besidesHeads(kv)).length, 1 + 30);
  await store.put(["a"], large(2));
  assert.equal((await besidesHeads(kv)).length, 1 + 2);
  await store.put(["a"], new Uint8Array(1));
  assert.deepEqual(await besidesHeads(kv), []);
  await store.put(["a"], large(2));
  await store.delete(["a"]);
  assert.deepEqual(await besidesHeads(kv), []);
});

Deno.test("deno_kv: a large write that loses leaves no parts", async () => {
  const { kv, store } = await memory();
  await using _ = store;
  const seen = await store.put(["a"], new Uint8Array(1));
  await store.put(["a"], new Uint8Array(2));
  assert.equal(await store.create(["a"], new Uint8Array(200_000)), null);
  assert.equal(await store.update(["a"], new Uint8Array(200_000), seen), null);
  assert.deepEqual(await besidesHeads(kv), []);
});

Deno.test("deno_kv: of many large writes at once only the parts of the last remain", async () => {
  const { kv, store } = await memory();
  await using _ = store;
  const sizes = Array.from({ length: 8 }, (_, i) => 100_000 + i);
  await Promise.all(sizes.map((size) => store.put(["a"], new Uint8Array(size))));
  assert.equal((await besidesHeads(kv)).length, 1 + 2);
  assert.ok((await store.get(["a"]))!.value.length >= 100_000);
});

Deno.test("deno_kv: parts that a crash left behind are removed at the next start", async () => {
  const path = newPath();
  const clock = new TestClock();
  const before = await Deno.openKv(path);
  {
    const store = new DenoKvStore({ kv: before, clock });
    await store.put(["kept"], new Uint8Array(100_000));
    // A process that dies between the parts and the head.
    await new Blobs({ kv: before, clock, hosted: false })
      .write(["lost"], new Uint8Array(900_000), undefined);
    assert.equal((await besidesHeads(before)).length, 1 + 2 + 1 + 14);
    await store[Symbol.asyncDispose]();
  }
  const kv = await Deno.openKv(path);
  await using store = new DenoKvStore({ kv, clock });
  while ((await besidesHeads(kv)).length > 1 + 2) await settle();
  assert.equal((await store.get(["kept"]))!.value.length, 100_000);
});

Deno.test("deno_kv: a value from before a restart is cleaned up after one", async () => {
  const path = newPath();
  const clock = new TestClock();
  await using first = await openDenoKv(path, clock);
  await first.put(["a"], new Uint8Array(100_000));
  await first[Symbol.asyncDispose]();
  const kv = await Deno.openKv(path);
  await using store = new DenoKvStore({ kv, clock });
  await store.put(["a"], new Uint8Array(1));
  assert.deepEqual(await besidesHeads(kv), []);
});

Deno.test("deno_kv: hosted, the parts another isolate may be writing stay for an hour", async () => {
  const path = newPath();
  const clock = new TestClock();
  const other = await Deno.openKv(path);
  const writing = new Blobs({ kv: other, clock, hosted: true });
  await writing.write(["a"], new Uint8Array(100_000), undefined);
  const open = async () => {
    const kv = await Deno.openKv(path);
    return new DenoKvStore({ kv, clock, hosted: true });
  };
  const young = await open();
  await young.put(["a"], new Uint8Array(1));
  await young[Symbol.asyncDispose]();
  const rooms = async () => (await besidesHeads(other)).map(([room]) => room);
  assert.deepEqual(await rooms(), ["b", "c", "p", "p"]);
  await clock.advance(3_600_001);
  await using old = await open();
  await old.put(["a"], new Uint8Array(1));
  assert.deepEqual(await rooms(), ["c"]);
  other.close();
});

Deno.test("deno_kv: Deno KV is told to remove what expires, a minute late and parts too", async () => {
  const delays: (number | undefined)[] = [];
  const kv = spy(await Deno.openKv(":memory:"), {
    set: (_key, _value, options) => void delays.push(options?.expireIn),
  });
  await using store = new DenoKvStore({ kv, clock: new TestClock() });
  await store.put(["a"], new Uint8Array(1), { ttl: 1_000.5 });
  await store.create(["b"], new Uint8Array(1), { ttl: 2_000 });
  await store.put(["c"], new Uint8Array(100_000), { ttl: 3_000 });
  await store.put(["d"], new Uint8Array(1));
  const [blob, ...parts] = [63_000, 63_000, 63_000];
  assert.deepEqual(delays, [61_001, 62_000, blob, ...parts, 63_000, undefined]);
});

Deno.test("deno_kv: puts of one turn share commits, and each has its own outcome", async () => {
  let commits = 0;
  const kv = spy(await Deno.openKv(":memory:"), { commit: () => void commits++ });
  await using store = new DenoKvStore({ kv, clock: new TestClock() });
  const puts = Array.from(
    { length: 1_000 },
    (_, i) => store.put(["k", String(i)], new Uint8Array(9)),
  );
  const refused = assert.rejects(store.put([""], new Uint8Array(1)), { code: "store.key_invalid" });
  await Promise.all([...puts, refused]);
  assert.equal(commits, 2);
  assert.equal((await Array.fromAsync(store.list(["k"]))).length, 1_000);
});

Deno.test("deno_kv: grouped puts stay within the limits of one commit", async () => {
  const { store } = await memory();
  await using _ = store;
  await Promise.all(Array.from({ length: 30 }, (_, i) => {
    return store.put(["large", String(i)], new Uint8Array(60_000));
  }));
  const long = "\0".repeat(900);
  await Promise.all(Array.from({ length: 600 }, (_, i) => {
    return store.put([long, String(i)], new Uint8Array(10));
  }));
  assert.equal((await Array.fromAsync(store.list([long]))).length, 600);
});

Deno.test("deno_kv: a commit that fails fails its puts, and the next ones go on", async () => {
  let broken = true;
  const kv = spy(await Deno.openKv(":memory:"), {
    commit() {
      if (broken) throw new Error("disk full");
    },
  });
  await using store = new DenoKvStore({ kv, clock: new TestClock() });
  const failed = { code: "store.unavailable", message: "Cannot reach the store: disk full" };
  await assert.rejects(store.put(["a"], new Uint8Array(1)), failed);
  await assert.rejects(store.create(["a"], new Uint8Array(100_000)), failed);
  broken = false;
  await store.put(["a"], new Uint8Array(1));
});

Deno.test("deno_kv: a call that the platform does not take is a defect, not worth another try", async () => {
  const kv = spy(await Deno.openKv(":memory:"), {
    commit() {
      throw new TypeError("too many keys");
    },
  });
  await using store = new DenoKvStore({ kv, clock: new TestClock() });
  const failed = {
    code: "store.call_invalid",
    message: "The store refused a call: too many keys",
    remedy: "bug",
  };
  await assert.rejects(store.put(["a"], new Uint8Array(1)), failed);
});

Deno.test("deno_kv: the last store over a Deno KV closes it", async () => {
  const { kv, clock, store } = await memory();
  const second = new DenoKvStore({ kv, clock });
  await store[Symbol.asyncDispose]();
  await second.put(["a"], new Uint8Array(1));
  await second[Symbol.asyncDispose]();
  await assert.rejects(kv.get(["a"]), Deno.errors.BadResource);
});

Deno.test("deno_kv: what another program wrote is refused, not misread", async () => {
  const { kv, store } = await memory();
  await using _ = store;
  for (const foreign of ["text", 7, { a: 1 }, new Uint8Array([0x20, 1]), new Uint8Array()]) {
    await kv.set(["s", "a"], foreign);
    await assert.rejects(store.get(["a"]), { code: "store.record_newer" });
  }
});

Deno.test("deno_kv: a value whose parts are gone is an error, not an endless search", async () => {
  const { kv, store } = await memory();
  await using _ = store;
  await store.put(["a"], new Uint8Array(100_000));
  for await (const { key } of kv.list({ prefix: ["p"] })) await kv.delete(key);
  await assert.rejects(store.get(["a"]), { code: "store.parts_missing" });
});

Deno.test("deno_kv: a watch of a hosted store is opened again when it breaks", async () => {
  const clock = new TestClock();
  let opened = 0;
  const kv = spy(await Deno.openKv(":memory:"), {
    watch: () => {
      if (++opened === 1) throw new Error("connection lost");
    },
  });
  await using store = new DenoKvStore({ kv, clock, hosted: true });
  // Listening before the watch is there: its own start is a nudge too, and may come at any time.
  const nudges = store.watch(["a"], never)[Symbol.asyncIterator]();
  const start = nudges.next();
  await clock.advance(1_000);
  assert.equal(opened, 2);
  await start;
  await using other = new DenoKvStore({ kv: spy(kv, { close: false }), clock, hosted: true });
  await other.put(["a"], new Uint8Array(1));
  assert.deepEqual(await nudges.next(), { value: null, done: false });
});

interface Spy {
  set?: Deno.AtomicOperation["set"] extends (...args: infer A) => unknown ? (...args: A) => void
    : never;
  commit?(): void;
  watch?(): void;
  /** `false`: someone else closes it. */
  close?: boolean;
}

/** The same Deno KV, with calls looked at first. */
function spy(kv: Deno.Kv, { set, commit, watch, close = true }: Spy): Deno.Kv {
  return new Proxy(kv, {
    get(target, name) {
      if (name === "atomic") return () => spyAtomic(target.atomic(), { set, commit });
      if (name === "close" && !close) return () => {};
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (name === "watch") watch?.();
        return value.apply(target, args);
      };
    },
  });
}

function spyAtomic(operation: Deno.AtomicOperation, { set, commit }: Spy): Deno.AtomicOperation {
  return new Proxy(operation, {
    get(target, name, proxy) {
      if (name === "commit") {
        return async () => {
          commit?.();
          return await target.commit();
        };
      }
      const value = Reflect.get(target, name);
      return (...args: Parameters<Deno.AtomicOperation["set"]>) => {
        if (name === "set") set?.(...args);
        value.apply(target, args);
        return proxy;
      };
    },
  });
}
