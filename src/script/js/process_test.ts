import assert from "node:assert/strict";
import { systemClock } from "../../core/clock.ts";
import { Child, type ChildListener, defaultCommand } from "./process.ts";
import { encodeFrame, FrameReader } from "./wire.ts";
import { wrapBody } from "./wrap.ts";

/** A child process without the pool around it. */
async function openChild() {
  const { command, args } = defaultCommand();
  const child = new Deno.Command(command, {
    args: [...args("--max-old-space-size=64")],
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.getReader();
  const frames = new FrameReader();
  const opened = {
    child,
    send: (head: string, body?: string) => writer.write(encodeFrame(head, body)),
    /** Head and body of the next frame. */
    async next(): Promise<[string, string]> {
      for (;;) {
        const frame = frames.next();
        if (frame) return [frame.head.join(" "), frame.body];
        const { value } = await reader.read();
        assert.ok(value, "the child has ended");
        frames.push(value);
      }
    },
    async [Symbol.asyncDispose]() {
      await writer.close();
      assert.equal((await child.status).code, 0);
      await reader.cancel();
    },
  };
  await opened.send("hello token 1000000000");
  assert.deepEqual(await opened.next(), ["token ready", ""]);
  return opened;
}

Deno.test("a child outlives Ctrl-C, which reaches the whole process group, and ends with stdin", async () => {
  await using opened = await openChild();
  opened.child.kill("SIGINT");
  opened.child.kill("SIGTERM");
  // An answer to what was sent after the signals shows that they changed nothing.
  await opened.send("batch flow 1 99", "[]");
  assert.deepEqual(await opened.next(), ["token unknown 1", ""]);
});

Deno.test("a child keeps no script of a flow it was told to forget", async () => {
  await using opened = await openChild();
  const facts = JSON.stringify({ label: "flowgen-script-7", writes: false, output: 100 });
  const install = () =>
    opened.send("install flow 7 sync", `${facts}\n${wrapBody("return 1", false)}`);
  const event = '[{"data":1}]';
  await install();
  await opened.send("batch flow 1 7", event);
  assert.deepEqual(await opened.next(), ["token done 1 0", '[{"v":1}]']);
  await opened.send("forget-flow flow");
  await opened.send("batch flow 2 7", event);
  assert.deepEqual(await opened.next(), ["token unknown 2", ""]);
  await install();
  await opened.send("forget-script flow 7");
  await opened.send("batch flow 3 7", event);
  assert.deepEqual(await opened.next(), ["token unknown 3", ""]);
});

Deno.test("whatever goes wrong with what a child says, its end is told", async () => {
  // Says "ready" as it should, then that an event takes long.
  const code = `
    const b = new Uint8Array(65536);
    const token = new TextDecoder().decode(b.subarray(4, Deno.stdin.readSync(b))).split(" ")[1];
    const text = new TextEncoder().encode(token + " ready");
    const frame = new Uint8Array(4 + text.length);
    new DataView(frame.buffer).setUint32(0, text.length, true);
    frame.set(text, 4);
    Deno.stdout.writeSync(frame);
    Deno.stdin.readSync(b);
    Deno.stderr.writeSync(new TextEncoder().encode(token + " at 1 0 5\\n"));
    Deno.stdin.readSync(b);`;
  const command = { command: Deno.execPath(), args: () => ["eval", code] };
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const listener: ChildListener = {
    frame() {},
    at() {
      throw new Error("no room for that");
    },
    tooBig() {},
    ended: () => resolve(),
  };
  const child = await Child.start({ command, clock: systemClock, memory: 1 }, listener);
  child.send("go on");
  await Promise.all([ended, child.gone]);
});
