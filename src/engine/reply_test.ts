import assert from "node:assert/strict";
import { settle } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { derive, type FlowEvent, jsonView } from "../flow/event.ts";
import type { TaskEntry } from "../flow/flow.ts";
import {
  type Held,
  type HttpReply,
  Many,
  type Reply,
  type SyncRun,
  Tracked,
} from "../flow/task.ts";
import { testEvent } from "../flow/testing.ts";
import { entry, HandSource, startFlow, sync, waits } from "./testing.ts";

type Options = Parameters<typeof sync>[2];

const pass = (name: string, options?: Options) => sync(name, (event, emit) => emit(event), options);
const boom: SyncRun = () => {
  throw new FlowError("event.invalid", "boom");
};
const items = (event: FlowEvent, list: readonly (string | number)[]) =>
  list.map((data) => ({ ...event, data }));

/** Makes one event of each number below the event's. */
const counts = (name: string, options?: Options) =>
  sync(
    name,
    (event, _, call) => call.expand(items(event, [...Array(event.data as number).keys()])),
    options,
  );

const answer = (status: number): HttpReply => ({ status, headers: {}, body: "now" });
const responds = (name: string, status: number, options?: Options) =>
  sync(name, (_event, _emit, call) => void call.respond(answer(status)), options);

/** A batch of every `size` events. */
function batches(name: string, size: number, options?: Options) {
  let held: Held[] = [];
  return entry(name, {
    type: "batches",
    mode: "collect",
    summary: "",
    config: {} as never,
    examples: [],
    holds: () => 1_000,
    create({ output }) {
      const flush = () => {
        const members = held.splice(0);
        if (members.length === 0) return;
        const data = members.map((member) => jsonView(member.event.data));
        output.emit(derive(members[0]!.event, { data, subject: name }), members);
      };
      return {
        add(one) {
          held.push(one);
          if (held.length === size) flush();
        },
        drop: (one) => void (held = held.filter((other) => other !== one)),
        flush,
      };
    },
  }, options);
}

/** Starts a flow behind a request source. */
async function requests(tasks: readonly TaskEntry[], options: Options = {}) {
  const source = new HandSource({ request: true });
  const { run, clock } = await startFlow([source.task("in", options), ...tasks]);
  return {
    clock,
    run,
    ask: (data: FlowEvent["data"]) => source.output.request(testEvent(data)),
    async [Symbol.asyncDispose]() {
      assert.equal(run.health().open, 0);
      await run.stop(0);
    },
  };
}

/** What a flow answers to one event. */
async function replyOf(
  data: FlowEvent["data"],
  tasks: readonly TaskEntry[],
  options: Options = {},
): Promise<Reply> {
  await using flow = await requests(tasks, options);
  return await flow.ask(data);
}

const none: Reply = { kind: "none" };
const list = (...items: (string | number)[]): Reply => ({ kind: "list", items });
const one = (data: FlowEvent["data"]): Reply => ({ kind: "data", data });

function failure(reply: Reply): [code: string, handled: boolean] {
  assert.equal(reply.kind, "failed");
  assert.ok(reply.kind === "failed" && reply.cause instanceof FlowError);
  return [reply.cause.code, reply.handled];
}

Deno.test("one event is answered with its data", async () => {
  assert.deepEqual(await replyOf("x", [pass("end")]), one("x"));
  assert.deepEqual(await replyOf("x", []), one("x"));
  const bytes = new Uint8Array([1, 2]);
  assert.deepEqual(await replyOf(bytes, [waits("end", (event) => event)]), one(bytes));
});

Deno.test("a dropped event is answered with nothing", async () => {
  assert.deepEqual(await replyOf("x", [sync("drop", () => {}), pass("end")]), none);
  assert.deepEqual(await replyOf("x", [waits("drop", () => null)]), none);
});

Deno.test("an expansion is answered with a list, also of one or none", async () => {
  for (const count of [0, 1, 3]) {
    const expected = list(...Array(count).keys());
    assert.deepEqual(await replyOf(count, [counts("many")]), expected);
    assert.deepEqual(await replyOf(count, [counts("many"), pass("end")]), expected);
    const array = waits("many", (event) => new Many(items(event, [...Array(count).keys()])));
    assert.deepEqual(await replyOf(count, [array, pass("end")]), expected);
  }
});

Deno.test("several events that are no expansion are answered as they are", async () => {
  const many = waits("many", (event) => new Many([event], false));
  assert.deepEqual(await replyOf("x", [many]), one("x"));
  const branches = [
    pass("a", { dependsOn: ["in"] }),
    pass("b", { dependsOn: ["in"] }),
    pass("end", { dependsOn: ["a", "b"] }),
  ];
  assert.deepEqual(await replyOf("x", branches), list("x", "x"));
});

Deno.test("a list keeps its order through tasks that finish in another one", async () => {
  for (const end of [[], [pass("end")]]) {
    await using flow = await requests([
      counts("many"),
      waits("slow", async (event) => {
        await settle(5 - (event.data as number));
        return event;
      }),
      ...end,
    ]);
    assert.deepEqual(await flow.ask(5), list(0, 1, 2, 3, 4));
  }
});

Deno.test("a list keeps its order through expansions inside expansions", async () => {
  const letters = (event: FlowEvent) => items(event, ["a", "b", "c"]);
  const numbers = (event: FlowEvent) => items(event, [1, 2].map((n) => `${event.data}${n}`));
  const slow = (name: string) =>
    waits(name, async (event) => {
      await settle(String(event.data).startsWith("a") ? 4 : 1);
      return event;
    });
  const expected = list("a1", "a2", "b1", "b2", "c1", "c2");
  const expand = (name: string, make: (event: FlowEvent) => FlowEvent[]) =>
    sync(name, (event, _, call) => call.expand(make(event)));
  const many = (name: string, make: (event: FlowEvent) => FlowEvent[]) =>
    waits(name, (event) => new Many(make(event)));
  for (
    const tasks of [
      [expand("outer", letters), expand("inner", numbers), slow("end")],
      [expand("outer", letters), slow("middle"), expand("inner", numbers), slow("end")],
      [many("outer", letters), slow("middle"), many("inner", numbers)],
      [
        many("outer", letters),
        waits("follow", (event) => new Tracked(event, () => {})),
        slow("middle"),
        expand("inner", numbers),
        slow("end"),
      ],
    ]
  ) assert.deepEqual(await replyOf("x", tasks), expected);
});

Deno.test("an expansion of which all but one were dropped is still a list", async () => {
  const odd = sync("odd", (event, emit) => (event.data as number) === 1 && emit(event));
  assert.deepEqual(await replyOf(3, [counts("many"), odd]), list(1));
});

Deno.test("reply on the source fixes the shape", async () => {
  assert.deepEqual(await replyOf("x", [pass("end")], { reply: "list" }), list("x"));
  assert.deepEqual(await replyOf("x", [sync("drop", () => {})], { reply: "list" }), list());
  assert.deepEqual(await replyOf(1, [counts("many")], { reply: "one" }), one(0));
  assert.deepEqual(await replyOf(0, [counts("many")], { reply: "one" }), none);
  assert.deepEqual(await replyOf("x", [pass("end")], { reply: "none" }), none);
  assert.deepEqual(await replyOf(3, [counts("many")], { reply: "none" }), none);
  const tooMany = await replyOf(2, [counts("many")], { reply: "one" });
  assert.deepEqual(failure(tooMany), ["flow.reply_not_one", false]);
});

Deno.test("the last leaf in the file that needs no error edge answers", async () => {
  const change = (name: string, options?: Options) =>
    sync(name, (event, emit) => emit({ ...event, data: name }), options);
  const tasks = [
    change("first"),
    change("side", { dependsOn: ["in"] }),
    change("last", { dependsOn: ["first"] }),
    change("dlq", { when: "error" }),
    change("after_dlq", { dependsOn: ["dlq"] }),
  ];
  assert.deepEqual(await replyOf("x", tasks), one("last"));
});

Deno.test("an expansion in a side branch does not make a list", async () => {
  const side = [
    pass("main"),
    counts("side", { dependsOn: ["in"] }),
    pass("end", { dependsOn: ["main"] }),
  ];
  assert.deepEqual(await replyOf(2, side), one(2));
});

Deno.test("a response is sent at once, before the delivery ends", async () => {
  const { promise, resolve } = Promise.withResolvers<null>();
  await using flow = await requests([
    responds("respond", 201),
    waits("slow", () => promise, { dependsOn: ["in"] }),
  ]);
  assert.deepEqual(await flow.ask("x"), { kind: "response", response: answer(201) });
  assert.equal(flow.run.health().open, 1);
  resolve(null);
  await settle();
});

Deno.test("only the first response counts, and later ones hear of it", async () => {
  const heard: boolean[] = [];
  const respond = (status: number): SyncRun => (event, emit, call) => {
    heard.push(call.respond(answer(status)));
    emit(event);
  };
  const tasks = [
    sync("first", respond(200)),
    waits("second", (event, call) => {
      heard.push(call.respond(answer(202)));
      return event;
    }),
    sync("third", respond(203)),
  ];
  assert.deepEqual(await replyOf("x", tasks), { kind: "response", response: answer(200) });
  assert.deepEqual(heard, [true, false, false]);
});

Deno.test("a response after the answer was given goes nowhere", async () => {
  let late: boolean | undefined;
  const { promise, resolve } = Promise.withResolvers<void>();
  await using flow = await requests([
    waits("slow", async (_, call) => {
      await promise;
      late = call.respond(answer(200));
      return null;
    }),
  ], { ackTimeout: 10 });
  const reply = flow.ask("x");
  await flow.clock.advance(10);
  assert.deepEqual(failure(await reply), ["delivery.timeout", false]);
  resolve();
  await settle();
  assert.equal(late, false);
});

Deno.test("a failure that nobody handles is answered as such", async () => {
  assert.deepEqual(failure(await replyOf("x", [sync("a", boom), pass("end")])), [
    "event.invalid",
    false,
  ]);
});

Deno.test("one failed event of a list fails the answer", async () => {
  const tasks = [
    counts("many"),
    sync("picky", (event, emit, call) => event.data === 1 ? boom(event, emit, call) : emit(event)),
  ];
  assert.deepEqual(failure(await replyOf(3, tasks)), ["event.invalid", false]);
});

Deno.test("a failure that went to a handler is answered as handled", async () => {
  const tasks = [sync("a", boom), pass("end"), pass("dlq", { when: "error" })];
  assert.deepEqual(failure(await replyOf("x", tasks)), ["event.invalid", true]);
  const broken = [sync("a", boom), sync("dlq", boom, { when: "error" })];
  assert.deepEqual(failure(await replyOf("x", broken)), ["event.invalid", false]);
});

Deno.test("a handler may respond itself", async () => {
  const tasks = [sync("a", boom), responds("dlq", 422, { when: "error" })];
  assert.deepEqual(await replyOf("x", tasks), { kind: "response", response: answer(422) });
});

Deno.test("what goes into a buffer is accepted when its batch is done", async () => {
  const { promise, resolve } = Promise.withResolvers<null>();
  await using flow = await requests([batches("bag", 2), waits("slow", () => promise)]);
  const replies: Reply[] = [];
  for (const n of [1, 2]) void flow.ask(n).then((reply) => replies.push(reply));
  await settle();
  assert.deepEqual(replies, []);
  resolve(null);
  await settle();
  assert.deepEqual(replies, [{ kind: "accepted" }, { kind: "accepted" }]);
});

Deno.test("a batch that fails fails the requests in it", async () => {
  await using flow = await requests([batches("bag", 2), sync("broken", boom)]);
  const replies = await Promise.all([flow.ask(1), flow.ask(2)]);
  assert.deepEqual(replies.map(failure), [["event.invalid", false], ["event.invalid", false]]);
});

Deno.test("a buffer in a side branch leaves the answer to the last leaf", async () => {
  const tasks = [pass("a"), batches("bag", 1), pass("end", { dependsOn: ["a"] })];
  assert.deepEqual(await replyOf("x", tasks), one("x"));
});

Deno.test("a response behind a buffer answers the requests of all members", async () => {
  for (const follow of [false, true]) {
    const heard: boolean[] = [];
    await using flow = await requests([
      batches("pairs", 2),
      batches("bag", 2),
      waits("maybe", (event) => follow ? new Tracked(event, () => {}) : event),
      sync("respond", (_event, _emit, call) => {
        heard.push(call.respond(answer(200)), call.respond(answer(500)));
      }),
    ]);
    const replies = await Promise.all([1, 2, 3, 4].map((n) => flow.ask(n)));
    assert.deepEqual(replies, Array(4).fill({ kind: "response", response: answer(200) }));
    assert.deepEqual(heard, [true, false]);
  }
});

Deno.test("a request that takes longer than ack_timeout fails with delivery.timeout", async () => {
  for (const ackTimeout of [undefined, 500]) {
    const { promise, resolve } = Promise.withResolvers<null>();
    await using flow = await requests([waits("slow", () => promise)], { ackTimeout });
    let reply: Reply | undefined;
    void flow.ask("x").then((one) => reply = one);
    await flow.clock.advance((ackTimeout ?? 30_000) - 1);
    assert.equal(reply, undefined);
    await flow.clock.advance(1);
    assert.deepEqual(failure(reply!), ["delivery.timeout", false]);
    resolve(null);
    await settle();
  }
});

Deno.test("a request whose event was dropped does not wait for others in a full queue", async () => {
  const { promise, resolve } = Promise.withResolvers<null>();
  await using flow = await requests([
    sync("filter", (event, emit) => event.data !== "drop" && emit(event)),
    waits("slow", () => promise, { concurrency: 1 }),
  ]);
  const slow = Array.from({ length: 10 }, () => flow.ask("x"));
  assert.deepEqual(await flow.ask("drop"), none);
  resolve(null);
  await Promise.all(slow);
});

Deno.test("requests while the flow has ended are refused", async () => {
  const flow = await requests([pass("end")]);
  await flow.run.stop(0);
  assert.throws(() => flow.ask("x"), { code: "http.stopping" });
});

Deno.test("a window full of requests that all wait in a buffer flushes it", async () => {
  const source = new HandSource({ request: true });
  const { run } = await startFlow([source.task("in", { maxInFlight: 2 }), batches("bag", 100)]);
  const answers = [1, 2].map((n) => source.output.request(testEvent(n)));
  assert.deepEqual(await Promise.all(answers), [{ kind: "accepted" }, { kind: "accepted" }]);
  await run.stop(0);
});
