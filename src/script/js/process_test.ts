import assert from "node:assert/strict";
import { defaultCommand } from "./process.ts";
import { encodeFrame, FrameReader } from "./wire.ts";

Deno.test("a child outlives Ctrl-C, which reaches the whole process group, and ends with stdin", async () => {
  const { command, args } = defaultCommand();
  const child = new Deno.Command(command, {
    args: [...args("--max-old-space-size=64")],
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(encodeFrame("hello token 1000000000"));
  const frames = new FrameReader();
  const next = async () => {
    for (;;) {
      const frame = frames.next();
      if (frame) return frame.head.join(" ");
      const { value } = await reader.read();
      assert.ok(value, "the child has ended");
      frames.push(value);
    }
  };
  const reader = child.stdout.getReader();
  assert.equal(await next(), "token ready");
  child.kill("SIGINT");
  child.kill("SIGTERM");
  // An answer to what was sent after the signals shows that they changed nothing.
  await writer.write(encodeFrame("batch flow 1 99", "[]"));
  assert.equal(await next(), "token unknown 1");
  await writer.close();
  assert.equal((await child.status).code, 0);
  await reader.cancel();
});
