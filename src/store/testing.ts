import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TestClock } from "../core/clock.ts";
import type { Entry, Key, Revision, Store } from "../flow/store.ts";
import { LARGEST_VALUE, LONGEST_KEY } from "../flow/key.ts";
import { scoped } from "../flow/scoped.ts";

export interface StoreTestOptions {
  /** Bytes of the longest key, where a prefix takes some away. */
  readonly longestKey?: number;
  /** Another way to the same data; a view of the whole when left out. The suite disposes it. */
  readonly second?: (first: Store, given: { clock: TestClock }) => Store | Promise<Store>;
}

/**
 * What every driver of `Store` promises. `open` gives an empty store each time; the suite disposes it.
 *
 * ```ts ignore
 * testStore("memory", ({ clock }) => new MemoryStore({ clock }));
 * ```
 */
export function testStore(
  name: string,
  open: (given: { clock: TestClock }) => Store | Promise<Store>,
  { second = (first) => scoped(first, []), longestKey = LONGEST_KEY }: StoreTestOptions = {},
): void {
  const test = (sentence: string, run: (given: Given) => Promise<void>) => {
    Deno.test(`${name}: ${sentence}`, async () => {
      const clock = new TestClock();
      await using store = await open({ clock });
      await run({ store, clock, other: async () => await second(store, { clock }) });
    });
  };
  testEntries(test);
  testExpiry(test);
  testRaces(test);
  testSizes(test);
  testKeys(test, longestKey);
  testWatch(test);
  testDispose(test);
}

interface Given {
  readonly store: Store;
  readonly clock: TestClock;
  readonly other: () => Promise<Store>;
}

type Test = (sentence: string, run: (given: Given) => Promise<void>) => void;

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (entry: Entry | null) => entry && new TextDecoder().decode(entry.value);
const keys = async (store: Store, prefix: Key) =>
  (await Array.fromAsync(store.list(prefix))).map((entry) => entry.key);
const never = new AbortController().signal;

/** Compares values without the minutes that a diff of large ones takes. */
function same(entry: Entry | null | undefined, value: Uint8Array): void {
  assert.equal(entry?.value.length, value.length);
  assert.ok(Buffer.compare(entry.value, value) === 0, "the bytes differ");
}

/** The revision of an optimistic write that must have won. */
function won(revision: Revision | null): Revision {
  assert.notEqual(revision, null);
  return revision!;
}

function testEntries(test: Test): void {
  test("what was put is read back with its key and revision", async ({ store }) => {
    const revision = await store.put(["a", "b"], bytes("one"));
    assert.deepEqual(await store.get(["a", "b"]), {
      key: ["a", "b"],
      value: bytes("one"),
      revision,
    });
    assert.equal(await store.get(["a"]), null);
    assert.equal(await store.get(["a", "c"]), null);
  });

  test("put replaces what was there and gives a new revision", async ({ store }) => {
    const first = await store.put(["a"], bytes("one"));
    const second = await store.put(["a"], bytes("two"));
    assert.notEqual(first, second);
    assert.equal(text(await store.get(["a"])), "two");
  });

  test("create writes a free key and leaves a taken one alone", async ({ store }) => {
    const revision = won(await store.create(["a"], bytes("one")));
    assert.equal(await store.create(["a"], bytes("two")), null);
    assert.equal(text(await store.get(["a"])), "one");
    assert.equal((await store.get(["a"]))!.revision, revision);
  });

  test("update wins with the current revision and with no other", async ({ store }) => {
    const first = await store.put(["a"], bytes("one"));
    const second = won(await store.update(["a"], bytes("two"), first));
    assert.equal(await store.update(["a"], bytes("late"), first), null);
    assert.equal(await store.update(["b"], bytes("late"), second), null);
    assert.equal(await store.update(["a"], bytes("late"), "no revision at all"), null);
    assert.equal(text(await store.get(["a"])), "two");
    assert.equal(await store.get(["b"]), null);
  });

  test("a revision from get and one from list serve for an update", async ({ store }) => {
    await store.put(["a"], bytes("one"), { ttl: 60_000 });
    const [listed] = await Array.fromAsync(store.list([]));
    assert.equal((await store.get(["a"]))!.revision, listed!.revision);
    won(await store.update(["a"], bytes("two"), listed!.revision));
  });

  test("delete says whether there was something to remove", async ({ store }) => {
    await store.put(["a"], bytes("one"));
    assert.equal(await store.delete(["a"]), true);
    assert.equal(await store.delete(["a"]), false);
    assert.equal(await store.get(["a"]), null);
  });

  test("delete with a revision removes only that one", async ({ store }) => {
    const first = await store.put(["a"], bytes("one"));
    const second = await store.put(["a"], bytes("two"));
    assert.equal(await store.delete(["a"], first), false);
    assert.equal(text(await store.get(["a"])), "two");
    assert.equal(await store.delete(["a"], second), true);
    assert.equal(await store.delete(["a"], second), false);
  });

  test("a key written again after a delete has a revision never seen before", async ({ store }) => {
    const first = await store.put(["a"], bytes("one"));
    await store.delete(["a"]);
    assert.equal(await store.update(["a"], bytes("late"), first), null);
    assert.notEqual(won(await store.create(["a"], bytes("one"))), first);
    assert.equal(await store.update(["a"], bytes("late"), first), null);
  });

  test("what the caller changes after a write, or in what it read, stays out", async ({ store }) => {
    for (const size of [3, 100_000]) {
      const key = ["a"];
      const value = new Uint8Array(size).fill(1);
      const writing = store.put(key, value);
      key[0] = "b";
      value.fill(2);
      await writing;
      (await store.get(["a"]))!.value.fill(3);
      same(await store.get(["a"]), new Uint8Array(size).fill(1));
      assert.deepEqual(await keys(store, []), [["a"]]);
    }
  });
}

function testExpiry(test: Test): void {
  test("an entry is visible until its ttl has passed", async ({ store, clock }) => {
    await store.put(["a", "x"], bytes("short"), { ttl: 1_000 });
    await store.put(["a", "y"], bytes("long"), { ttl: 1_001 });
    await store.put(["a", "z"], bytes("for good"));
    await clock.advance(999);
    assert.equal(text(await store.get(["a", "x"])), "short");
    assert.equal((await keys(store, ["a"])).length, 3);
    await clock.advance(1);
    assert.equal(await store.get(["a", "x"]), null);
    assert.equal(text(await store.get(["a", "y"])), "long");
    assert.deepEqual(await keys(store, ["a"]), [["a", "y"], ["a", "z"]]);
    await clock.advance(10 * 365 * 86_400_000);
    assert.deepEqual(await keys(store, ["a"]), [["a", "z"]]);
  });

  test("create takes a key whose entry has expired", async ({ store, clock }) => {
    await store.create(["a"], bytes("old"), { ttl: 1_000 });
    assert.equal(await store.create(["a"], bytes("early")), null);
    await clock.advance(1_000);
    won(await store.create(["a"], bytes("new")));
    assert.equal(text(await store.get(["a"])), "new");
  });

  test("an expired entry can be neither updated nor deleted", async ({ store, clock }) => {
    const seen = await store.put(["a"], bytes("old"), { ttl: 1_000 });
    await clock.advance(1_000);
    assert.equal(await store.update(["a"], bytes("late"), seen), null);
    assert.equal(await store.delete(["a"], seen), false);
    assert.equal(await store.delete(["a"]), false);
    assert.equal(await store.get(["a"]), null);
  });

  test("a write without a ttl makes an entry stay, one with a ttl renews it", async (given) => {
    const { store, clock } = given;
    const a = await store.put(["a"], bytes("1"), { ttl: 1_000 });
    await store.put(["b"], bytes("1"), { ttl: 1_000 });
    const c = await store.put(["c"], bytes("1"), { ttl: 1_000 });
    await clock.advance(900);
    won(await store.update(["a"], bytes("2"), a));
    await store.put(["b"], bytes("2"));
    won(await store.update(["c"], bytes("2"), c, { ttl: 1_000 }));
    await clock.advance(900);
    assert.deepEqual(await keys(store, []), [["a"], ["b"], ["c"]]);
    await clock.advance(100);
    assert.deepEqual(await keys(store, []), [["a"], ["b"]]);
  });

  test("a ttl that is no time is refused, and nothing is written", async ({ store }) => {
    const seen = await store.put(["b"], bytes("old"));
    for (const ttl of [NaN, 0, -1, "60" as unknown as number]) {
      for (const size of [3, 100_000]) {
        const value = new Uint8Array(size);
        const refused = { code: "store.ttl_invalid", remedy: "config" };
        await assert.rejects(store.put(["a"], value, { ttl }), refused);
        await assert.rejects(store.create(["a"], value, { ttl }), refused);
        await assert.rejects(store.update(["b"], value, seen, { ttl }), refused);
      }
    }
    assert.equal(await store.get(["a"]), null);
    assert.equal(text(await store.get(["b"])), "old");
  });

  test("a ttl may be longer than any life", async ({ store, clock }) => {
    for (const ttl of [0.5, 1e16, Number.MAX_VALUE, Infinity]) {
      for (const size of [3, 100_000]) {
        await store.put([`${ttl}`, `${size}`], new Uint8Array(size), { ttl });
      }
    }
    await clock.advance(100 * 365 * 86_400_000);
    assert.equal((await keys(store, [])).length, 6);
  });

  test("large values expire like small ones", async ({ store, clock }) => {
    await store.put(["a"], new Uint8Array(200_000), { ttl: 1_000 });
    assert.equal((await store.get(["a"]))!.value.length, 200_000);
    await clock.advance(1_000);
    assert.equal(await store.get(["a"]), null);
    won(await store.create(["a"], new Uint8Array(100_000)));
  });
}

function testRaces(test: Test): void {
  const racers = Array.from({ length: 8 }, (_, i) => i);

  test("of writers that create one key at once, exactly one wins", async ({ store, other }) => {
    await using second = await other();
    const results = await Promise.all(racers.map((i) => {
      return (i % 2 ? store : second).create(["a"], bytes(`writer ${i}`));
    }));
    const winners = racers.filter((i) => results[i] !== null);
    assert.equal(winners.length, 1);
    assert.equal(text(await store.get(["a"])), `writer ${winners[0]}`);
  });

  test("of writers that update one revision at once, exactly one wins", async (given) => {
    const { store, other } = given;
    await using second = await other();
    const seen = await store.put(["a"], bytes("before"));
    const results = await Promise.all(racers.map((i) => {
      return (i % 2 ? store : second).update(["a"], bytes(`writer ${i}`), seen);
    }));
    const winners = racers.filter((i) => results[i] !== null);
    assert.equal(winners.length, 1);
    assert.equal(text(await store.get(["a"])), `writer ${winners[0]}`);
    assert.equal((await store.get(["a"]))!.revision, results[winners[0]!]);
  });

  test("of callers that delete one entry at once, exactly one hears true", async ({ store }) => {
    await store.put(["a"], bytes("one"));
    const results = await Promise.all(racers.map(() => store.delete(["a"])));
    assert.equal(results.filter((removed) => removed).length, 1);
  });

  test("eight loops that raise one counter lose no step", async ({ store, other }) => {
    await using second = await other();
    const raise = async (through: Store) => {
      while (true) {
        const entry = await through.get(["n"]);
        const next = bytes(String(Number(text(entry) ?? 0) + 1));
        const done = entry
          ? await through.update(["n"], next, entry.revision)
          : await through.create(["n"], next);
        if (done !== null) return;
      }
    };
    await Promise.all(racers.map(async (i) => {
      for (let step = 0; step < 10; step++) await raise(i % 2 ? store : second);
    }));
    assert.equal(text(await store.get(["n"])), "80");
  });

  test("puts of one key at once leave the last one, under its revision", async ({ store }) => {
    const revisions = await Promise.all(racers.map((i) => store.put(["a"], bytes(`${i}`))));
    assert.equal(new Set(revisions).size, racers.length);
    const entry = await store.get(["a"]);
    assert.equal(entry!.revision, revisions[Number(text(entry))]);
    const losers = revisions.filter((revision) => revision !== entry!.revision);
    for (const seen of losers) assert.equal(await store.update(["a"], bytes("x"), seen), null);
  });

  test("a large value is read whole while it is being replaced", async ({ store }) => {
    const value = (fill: number) => new Uint8Array(150_000 + fill).fill(fill);
    await store.put(["a"], value(0));
    const write = async () => {
      for (let i = 1; i <= 10; i++) await store.put(["a"], value(i));
    };
    const read = async () => {
      for (let i = 0; i < 20; i++) {
        const [listed] = await Array.fromAsync(store.list([]));
        for (const entry of [await store.get(["a"]), listed!]) {
          same(entry, value(entry!.value[0]!));
        }
      }
    };
    await Promise.all([write(), read(), read()]);
    same(await store.get(["a"]), value(10));
  });
}

function testSizes(test: Test): void {
  const KiB = 1_024;
  const MiB = 1_024 * KiB;

  /** Bytes whose place can be told, so that swapped parts show. */
  const pattern = (size: number, seed = 1) => {
    const words = new Uint32Array(Math.ceil(size / 4));
    for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + seed, 0x9e3779b1);
    return new Uint8Array(words.buffer, 0, size);
  };

  test("values of 0 bytes to 10 MiB are read back as they were", async ({ store }) => {
    const sizes = [0, 1, 64 * KiB - 10, 64 * KiB - 9, 64 * KiB - 8, 64 * KiB, 64 * KiB + 1, MiB];
    for (const size of [...sizes, 10 * MiB]) {
      await store.put(["sizes", String(size)], pattern(size));
      same(await store.get(["sizes", String(size)]), pattern(size));
    }
    for await (const { key, value } of store.list(["sizes"])) {
      assert.equal(value.length, Number(key[1]));
    }
  });

  test("large values replace small ones and the other way round", async ({ store }) => {
    let seed = 1;
    for (const size of [10, MiB, 200 * KiB, 10, 2 * MiB, 64 * KiB, 0]) {
      await store.put(["a"], pattern(size, ++seed));
      same(await store.get(["a"]), pattern(size, seed));
    }
  });

  test("create, update and delete work on large values", async ({ store }) => {
    const first = won(await store.create(["a"], pattern(MiB, 1)));
    assert.equal(await store.create(["a"], pattern(MiB, 2)), null);
    const second = won(await store.update(["a"], pattern(MiB, 3), first));
    assert.equal(await store.update(["a"], pattern(MiB, 4), first), null);
    same(await store.get(["a"]), pattern(MiB, 3));
    assert.equal(await store.delete(["a"], second), true);
    assert.equal(await store.get(["a"]), null);
  });

  test("a value over 64 MiB is refused", async ({ store }) => {
    const value = new Uint8Array(LARGEST_VALUE + 1);
    await assert.rejects(store.put(["a"], value), { code: "store.value_too_large" });
  });

  test("10,000 keys under one prefix are listed in order", async ({ store }) => {
    const names = Array.from({ length: 10_000 }, (_, i) => String(i));
    const shuffled = names.toSorted((a, b) => a.at(-1)! < b.at(-1)! ? -1 : 1);
    await Promise.all(shuffled.map((one) => store.put(["many", one], bytes(one))));
    await store.put(["man"], bytes("before"));
    await store.put(["many2"], bytes("behind"));
    const listed = await Array.fromAsync(store.list(["many"]));
    assert.deepEqual(listed.map((entry) => entry.key[1]), names.toSorted());
    assert.ok(listed.every((entry) => text(entry) === entry.key[1]));
  });
}

function testKeys(test: Test, longestKey: number): void {
  const odd = [
    ".",
    "..",
    "*",
    ">",
    "$",
    "%2e",
    "a.b",
    "a/b",
    "/",
    " ",
    " a ",
    "\t\n",
    "\0",
    "a\0",
    "a\0b",
    "\x01",
    "\x7f",
    "ä",
    "a\u0308",
    "\u{1f600}",
    "\u{10ffff}",
    "\ufffd",
    "\uffff",
    "\ue000",
    "\ud7ff",
    "\ud800",
    "\udc00\ud800",
    "=",
    "_",
    "-",
    '"',
    "\\",
    "A",
    "a",
    "null",
    "0",
  ];

  test("any text may be part of a key", async ({ store }) => {
    for (const part of odd) await store.put(["odd", part, "x"], bytes(part));
    for (const part of odd) {
      const entry = await store.get(["odd", part, "x"]);
      assert.deepEqual(entry?.key, ["odd", part, "x"]);
      assert.deepEqual(entry.value, bytes(part));
      assert.deepEqual(await keys(store, ["odd", part]), [["odd", part, "x"]]);
    }
    const order = odd.toSorted((a, b) => a < b ? -1 : 1);
    assert.deepEqual(await keys(store, ["odd"]), order.map((part) => ["odd", part, "x"]));
  });

  test("parts are kept apart from text that looks like several", async ({ store }) => {
    const alike = [["a", "b"], ["a.b"], ["a/b"], ["a\0b"], ["a b"], ["ab"], ['a","b']];
    for (const key of alike) won(await store.create(key, bytes(JSON.stringify(key))));
    for (const key of alike) assert.equal(text(await store.get(key)), JSON.stringify(key));
  });

  test("list gives what is below its prefix, in order part by part", async ({ store }) => {
    const order = [["a"], ["a", "1"], ["a", "1", "x"], ["a", "10"], ["a", "2"], ["a!"], ["ab"]];
    for (const key of order.toReversed()) await store.put(key, bytes("x"));
    assert.deepEqual(await keys(store, []), order);
    assert.deepEqual(await keys(store, ["a"]), order.slice(1, 5));
    assert.deepEqual(await keys(store, ["a", "1"]), [["a", "1", "x"]]);
    assert.deepEqual(await keys(store, ["a", "1", "x"]), []);
    assert.deepEqual(await keys(store, ["b"]), []);
  });

  test("a list may be left early, and entries may go while it runs", async ({ store }) => {
    for (let i = 0; i < 10; i++) await store.put(["a", String(i)], bytes("x"));
    for await (const { key } of store.list(["a"])) {
      await store.delete(key);
      if (key[1] === "4") break;
    }
    assert.equal((await keys(store, ["a"])).length, 5);
  });

  test(`keys of up to ${longestKey} bytes are kept, longer ones refused`, async ({ store }) => {
    for (const unit of ["x", "\0", "ä", "\uffff", "\u{1f600}"]) {
      const count = Math.floor((longestKey - 2) / bytes(unit).length);
      const longest = ["k", unit.repeat(count)];
      await store.put(longest, bytes(unit));
      assert.equal(text(await store.get(longest)), unit);
      await assert.rejects(store.put(["k", unit.repeat(count + 1)], bytes("")), {
        code: "store.key_invalid",
      });
    }
    assert.equal((await keys(store, ["k"])).length, 5);
    const parts = Array.from({ length: Math.floor(longestKey / 2) }, () => "\0");
    await store.put(parts, bytes("many parts"));
    assert.equal(text(await store.get(parts)), "many parts");
  });

  test("an empty key or part is refused", async ({ store }) => {
    for (const key of [[], [""], ["a", ""], ["", "a"]]) {
      const refused = { code: "store.key_invalid" };
      await assert.rejects(store.get(key), refused);
      await assert.rejects(store.put(key, bytes("x")), refused);
      await assert.rejects(store.create(key, bytes("x")), refused);
      await assert.rejects(store.update(key, bytes("x"), "1"), refused);
      await assert.rejects(store.delete(key), refused);
      if (key.length > 0) await assert.rejects(Array.fromAsync(store.list(key)), refused);
    }
  });
}

function testWatch(test: Test): void {
  /** Reads until `key`, or a nudge to look at everything, was heard. */
  const hear = async (nudges: AsyncIterator<Key | null>, key: Key) => {
    while (true) {
      const { value, done } = await nudges.next();
      assert.notEqual(done, true, "the watch ended");
      if (value === null || JSON.stringify(value) === JSON.stringify(key)) return;
    }
  };
  const start = (store: Store, prefix: Key) => {
    const stop = new AbortController();
    const nudges = store.watch(prefix, stop.signal)[Symbol.asyncIterator]();
    return { nudges, [Symbol.dispose]: () => stop.abort() };
  };

  test("a watch hears of every kind of write below its prefix", async ({ store }) => {
    using watch = start(store, ["a"]);
    await store.put(["a", "put"], bytes("1"));
    await hear(watch.nudges, ["a", "put"]);
    const seen = won(await store.create(["a", "new"], bytes("1")));
    await hear(watch.nudges, ["a", "new"]);
    const next = won(await store.update(["a", "new"], bytes("2"), seen));
    await hear(watch.nudges, ["a", "new"]);
    await store.delete(["a", "new"], next);
    await hear(watch.nudges, ["a", "new"]);
    await store.delete(["a", "put"]);
    await hear(watch.nudges, ["a", "put"]);
  });

  test("a watch hears of its own prefix as a key", async ({ store }) => {
    using watch = start(store, ["a", "b"]);
    await store.put(["a", "b"], bytes("1"));
    await hear(watch.nudges, ["a", "b"]);
  });

  test("a watch of everything hears of any key", async ({ store }) => {
    using watch = start(store, []);
    await store.put(["somewhere", "deep"], bytes("1"));
    await hear(watch.nudges, ["somewhere", "deep"]);
  });

  test("a watch hears what another handle writes", async ({ store, other }) => {
    await using second = await other();
    using watch = start(store, ["a"]);
    await second.put(["a", "b"], bytes("1"));
    await hear(watch.nudges, ["a", "b"]);
    assert.equal(text(await store.get(["a", "b"])), "1");
    using back = start(second, ["a"]);
    await store.delete(["a", "b"]);
    await hear(back.nudges, ["a", "b"]);
  });

  test("a watch loses no change, whenever its reader comes", async ({ store }) => {
    using watch = start(store, ["a"]);
    // Before the first read, and more keys than anyone would queue.
    for (let i = 0; i < 1_000; i++) await store.put(["a", String(i)], bytes("1"));
    const known = new Set<string>();
    const look = async () => {
      for (const key of await keys(store, ["a"])) known.add(key[1]!);
    };
    while (known.size < 1_000) {
      const { value } = await watch.nudges.next();
      if (value) known.add(value[1]!);
      else await look();
    }
    // Between two reads.
    const waiting = watch.nudges.next();
    await store.put(["a", "x"], bytes("1"));
    await waiting;
    await store.put(["a", "y"], bytes("1"));
    await hear(watch.nudges, ["a", "y"]);
  });

  test("a watch ends when its signal fires", async ({ store }) => {
    const stop = new AbortController();
    const heard: (Key | null)[] = [];
    const reading = (async () => {
      for await (const key of store.watch(["a"], stop.signal)) {
        heard.push(key);
        stop.abort();
      }
    })();
    await store.put(["a", "b"], bytes("1"));
    await reading;
    assert.equal(heard.length, 1);

    const before = store.watch(["a"], AbortSignal.abort());
    assert.deepEqual(await Array.fromAsync(before), []);

    const late = new AbortController();
    const waiting = Array.fromAsync(store.watch(["b"], late.signal));
    late.abort();
    await waiting;
  });

  test("several watches hear independently of each other", async ({ store }) => {
    using a = start(store, ["a"]);
    using all = start(store, []);
    using b = start(store, ["b"]);
    await a.nudges.return!();
    await store.put(["b", "1"], bytes("1"));
    await hear(b.nudges, ["b", "1"]);
    await hear(all.nudges, ["b", "1"]);
    assert.equal((await a.nudges.next()).done, true);
  });
}

function testDispose(test: Test): void {
  test("a disposed store refuses everything, and may be disposed again", async ({ store }) => {
    const seen = await store.put(["a"], bytes("1"));
    const watching = Array.fromAsync(store.watch([], never));
    await store[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    await watching;
    const refused = { code: "store.closed" };
    await assert.rejects(store.get(["a"]), refused);
    await assert.rejects(store.put(["a"], bytes("2")), refused);
    await assert.rejects(store.create(["b"], bytes("2")), refused);
    await assert.rejects(store.update(["a"], bytes("2"), seen), refused);
    await assert.rejects(store.delete(["a"]), refused);
    await assert.rejects(Array.fromAsync(store.list([])), refused);
    assert.throws(() => store.watch([], never), refused);
  });

  test("disposing waits for the writes under way", async ({ store }) => {
    const writes = [store.put(["a"], bytes("1")), store.put(["b"], new Uint8Array(200_000))];
    await store[Symbol.asyncDispose]();
    assert.equal((await Promise.all(writes)).length, 2);
  });

  test("disposing a view leaves the store open", async ({ store }) => {
    const view = scoped(store, ["room"]);
    await view.put(["a"], bytes("1"));
    await view[Symbol.asyncDispose]();
    assert.equal(text(await store.get(["room", "a"])), "1");
  });
}
