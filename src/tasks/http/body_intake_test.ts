import assert from "node:assert/strict";
import { settle, TestClock } from "../../core/clock.ts";
import { TOO_LARGE } from "./body.ts";
import { BodyIntake, MOST_BODIES, MOST_BODY_BYTES } from "./body_intake.ts";
import { errorOf, startEndpoint } from "./testing.ts";

const MIB = 1024 * 1024;
const LIMIT = 10 * MIB;

/** A request whose body arrives when the test says so. */
function arriving(type: string, announced?: number) {
  const sent = new TransformStream<Uint8Array, Uint8Array>(undefined, undefined, {
    highWaterMark: 100,
  });
  const writer = sent.writable.getWriter();
  const given = { cancelled: false };
  writer.closed.catch(() => given.cancelled = true);
  const request = new Request("http://localhost/in", {
    method: "POST",
    body: sent.readable,
    headers: {
      "content-type": type,
      ...(announced !== undefined && { "content-length": String(announced) }),
    },
  });
  return {
    request,
    given,
    send: (text: string) => writer.write(new TextEncoder().encode(text)),
    sendBytes: (size: number) => writer.write(new Uint8Array(size)),
    end: () => writer.close(),
  };
}

const json = (announced?: number) => arriving("application/json", announced);
const binary = (announced?: number) => arriving("application/octet-stream", announced);

/** The code of what it rejects with; told at once, so that no rejection goes unheard. */
function codeOf(reading: Promise<unknown>): Promise<string> {
  return reading.then(() => "nothing", ({ code }) => code);
}

Deno.test("announced bodies that do not fit together are refused before anything is read", async () => {
  const intake = new BodyIntake(new TestClock(), LIMIT);
  const open = Array.from({ length: 6 }, () => binary(LIMIT));
  const reading = open.map(({ request }) => intake.read(request));
  const late = binary(LIMIT);
  assert.equal(await codeOf(intake.read(late.request)), "http.window_full");
  await settle();
  assert.ok(late.given.cancelled);
  const small = binary(3);
  const fits = intake.read(small.request);
  await small.sendBytes(3);
  await small.end();
  assert.deepEqual(await fits, { payload: "AAAA", size: 3 });

  await open[0]!.end();
  await reading[0];
  const next = binary(LIMIT);
  const room = intake.read(next.request);
  for (const one of [...open.slice(1), next]) await one.end();
  await Promise.all([...reading, room]);
});

Deno.test("a body of unknown length is counted as it comes", async () => {
  const intake = new BodyIntake(new TestClock(), LIMIT);
  const announced = Array.from({ length: 6 }, () => binary(LIMIT));
  const reading = announced.map(({ request }) => intake.read(request));
  const unknown = binary();
  const refused = codeOf(intake.read(unknown.request));
  await unknown.sendBytes(4 * MIB);
  await settle();
  assert.equal(unknown.given.cancelled, false);
  await unknown.sendBytes(1);
  assert.equal(await refused, "http.window_full");
  await settle();
  assert.ok(unknown.given.cancelled);
  for (const one of announced) await one.end();
  await Promise.all(reading);
});

Deno.test("one body larger than all may pass alone", async () => {
  const intake = new BodyIntake(new TestClock(), 2 * MOST_BODY_BYTES);
  const large = binary(MOST_BODY_BYTES + 1);
  const reading = intake.read(large.request);
  assert.equal(await codeOf(intake.read(binary(1).request)), "http.window_full");
  await large.end();
  await reading;
});

Deno.test("so many bodies are on their way at once, however small; no body needs no room", async () => {
  const intake = new BodyIntake(new TestClock(), LIMIT);
  const open = Array.from({ length: MOST_BODIES }, () => json(1));
  const reading = open.map(({ request }) => intake.read(request));
  assert.equal(await codeOf(intake.read(json(1).request)), "http.window_full");
  const none = new Request("http://localhost/in");
  assert.deepEqual(await intake.read(none), { payload: null, size: 0 });
  await Promise.all(open.map(async ({ send, end }) => {
    await send("1");
    await end();
  }));
  assert.deepEqual(await reading[0], { payload: 1, size: 1 });
  await Promise.all(reading);
});

Deno.test("a body that is refused, too long or broken gives its room back", async () => {
  const intake = new BodyIntake(new TestClock(), LIMIT);
  for (let i = 0; i < 20; i++) {
    const long = binary();
    const reading = intake.read(long.request);
    await long.sendBytes(LIMIT + 1);
    assert.equal(await reading, TOO_LARGE);
    const broken = json(LIMIT);
    const failing = codeOf(intake.read(broken.request));
    await broken.send("{");
    await broken.end();
    assert.equal(await failing, "http.body_invalid");
  }
});

for (const [how, make] of Object.entries({ "read at once": json, "read in parts": binary })) {
  Deno.test(`a body has 30 seconds to arrive, each for itself (${how})`, async () => {
    const clock = new TestClock();
    const intake = new BodyIntake(clock, LIMIT);
    const slow = make(10);
    const first = codeOf(intake.read(slow.request));
    await slow.send("[");
    await clock.advance(10_000);
    const second = codeOf(intake.read(make(10).request));
    const good = make(3);
    const third = intake.read(good.request);
    await clock.advance(19_999);
    let ended = false;
    first.then(() => ended = true);
    await settle();
    assert.equal(ended, false);
    await clock.advance(1);
    assert.equal(await first, "http.body_timeout");
    await good.send("[1]");
    await good.end();
    assert.equal((await third as { size: number }).size, 3);
    await clock.advance(10_000);
    assert.equal(await second, "http.body_timeout");
    intake.stop();
    assert.equal(clock.pending, 0);
  });

  Deno.test(`when intake ends, a body has 5 seconds left (${how})`, async () => {
    const clock = new TestClock();
    const intake = new BodyIntake(clock, LIMIT);
    const late = codeOf(intake.read(make(10).request));
    const good = make(3);
    const reading = intake.read(good.request);
    await clock.advance(1_000);
    intake.stop();
    await clock.advance(4_000);
    const inside = codeOf(intake.read(make(10).request));
    await good.send("[1]");
    await good.end();
    assert.equal((await reading as { size: number }).size, 3);
    await clock.advance(1_000);
    assert.deepEqual([await late, await inside], ["http.stopping", "http.stopping"]);
    assert.equal(clock.pending, 0);
  });
}

Deno.test("a body that does not come is answered 408, or 503 when the flow stops", async () => {
  const clock = new TestClock();
  const { route, stop, events } = await startEndpoint({ method: "POST" }, { clock });
  const slow = route.handle(json(10).request, {});
  await clock.advance(30_000);
  const { status, code, message } = await errorOf(await slow);
  assert.deepEqual(
    [status, code, message],
    [408, "http.body_timeout", "The body did not arrive within 30s"],
  );

  const last = route.handle(json(10).request, {});
  await settle();
  const stopped = stop();
  await clock.advance(5_000);
  const response = await last;
  assert.deepEqual([response.status, response.headers.get("retry-after")], [503, "1"]);
  await stopped;
  assert.deepEqual(events, []);
});

Deno.test("a body that there is no room for is answered 429", async () => {
  const { route, stop } = await startEndpoint({ method: "POST", max_body_bytes: "64MiB" });
  const large = binary(MOST_BODY_BYTES);
  const first = route.handle(large.request, {});
  const refused = await route.handle(binary(1).request, {});
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "1"]);
  assert.equal((await errorOf(refused)).code, "http.window_full");
  await large.end();
  assert.equal((await first).status, 204);
  await stop();
});
