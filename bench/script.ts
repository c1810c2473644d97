/**
 * Speed of scripts beside what the platform can do at most, in one run: an echo through a child
 * process for the cage, a bare `new Function` without one. `deno run -A --unstable-kv bench/script.ts`.
 */
import type { Row } from "./row.ts";
import { systemClock } from "../src/core/clock.ts";
import { silentLog } from "../src/core/log.ts";
import type { EventView } from "../src/flow/event.ts";
import type { Script, ScriptHost } from "../src/flow/script.ts";
import { createScriptEngines } from "../src/script/mod.ts";

const CODE = "const { data } = event;\n" +
  "return { id: data.id, total: data.price * data.count, big: data.tags.length > 2 }";

/** About 300 bytes as JSON text. */
const view: EventView = {
  subject: "orders",
  id: "0190c3a4-7f1e-7abc-8def-0123456789ab",
  timestamp: 1_893_456_000_000_000,
  data: { id: "o-1", price: 12.5, count: 3, tags: ["new", "north", "gift"], note: "x".repeat(60) },
  meta: { correlation_id: "0190c3a4-7f1e-7abc-8def-0123456789ab" },
  error: null,
};

const host = { epoch: 0, resource: async () => null, print() {} } as unknown as ScriptHost;
const source = { code: CODE, language: "js", flow: "bench", task: "script" } as const;
const now = () => performance.now();

export async function benchScript(): Promise<Row[]> {
  const raw = await echo();
  const cage = await caged();
  const plain = await inProcess();
  return [
    {
      name: "script caged, 300 B",
      ours: cage.rate,
      raw: raw.rate,
      unit: "events/s",
      goal: { value: 150_000 },
    },
    {
      name: "script caged, lone event p50",
      ours: cage.lone,
      raw: raw.lone,
      unit: "ms",
      goal: { value: 0.5 },
    },
    {
      name: "script child ready",
      ours: cage.ready,
      raw: raw.ready,
      unit: "ms",
      goal: { value: 100 },
    },
    {
      name: "script none, 300 B",
      ours: plain.ours,
      raw: plain.raw,
      unit: "events/s",
      goal: { value: 2e6 },
    },
  ];
}

async function caged() {
  await using engines = createScriptEngines({
    isolation: "process",
    defaultLanguage: "js",
    children: 1,
    clock: systemClock,
    log: silentLog,
  });
  await using script = await engines.compile(source, host);
  const began = now();
  await script.run(view);
  const ready = now() - began;
  const lone = await p50(() => script.run(view));
  await flood(script, 50_000);
  const rates: number[] = [];
  for (let i = 0; i < 3; i++) rates.push(await flood(script, 100_000));
  return { rate: median(rates), lone, ready };
}

/** Events per second with 1,024 in flight, as the engine keeps them. */
async function flood(script: Script, total: number): Promise<number> {
  let sent = 0;
  const began = now();
  await Promise.all(Array.from({ length: 1024 }, async () => {
    while (sent++ < total) await script.run(view);
  }));
  return total / (now() - began) * 1_000;
}

async function inProcess() {
  const engines = createScriptEngines({
    isolation: "none",
    defaultLanguage: "js",
    clock: systemClock,
    log: silentLog,
  });
  const script = await engines.compile(source, host);
  const bare = new Function("event", "ctx", CODE) as (event: EventView) => unknown;
  const rate = (run: (event: EventView) => unknown) => {
    for (let i = 0; i < 100_000; i++) run(view);
    const began = now();
    for (let i = 0; i < 1_000_000; i++) run(view);
    return 1_000_000 / (now() - began) * 1_000;
  };
  const pairs = Array.from({ length: 3 }, () => [rate((event) => script.run(event)), rate(bare)]);
  await engines[Symbol.asyncDispose]();
  return { ours: median(pairs.map(([a]) => a!)), raw: median(pairs.map(([, b]) => b!)) };
}

/** What a process and its pipes cost alone: lines of 256 events each, sent back as they are. */
async function echo() {
  const child = `const b = new Uint8Array(262144);
    Deno.stdout.writeSync(new Uint8Array([10]));
    for (let n; (n = Deno.stdin.readSync(b)) !== null;) {
      for (let f = 0; f < n;) f += Deno.stdout.writeSync(b.subarray(f, n));
    }`;
  const began = now();
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-config",
      "--no-prompt",
      `data:text/javascript,${encodeURIComponent(child)}`,
    ],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = process.stdin.getWriter();
  const reader = process.stdout.getReader();
  await reader.read();
  const ready = now() - began;
  const encoder = new TextEncoder();
  const round = async (text: string) => {
    const bytes = encoder.encode(text);
    writer.write(bytes);
    const pieces: Uint8Array[] = [];
    for (let seen = 0; seen < bytes.length;) {
      const { value } = await reader.read();
      pieces.push(value!);
      seen += value!.length;
    }
    const whole = new Uint8Array(await new Blob(pieces as BlobPart[]).arrayBuffer());
    return JSON.parse(new TextDecoder().decode(whole));
  };
  const lone = await p50(() => round(JSON.stringify(view)));
  const batch = () => `[${Array.from({ length: 256 }, () => JSON.stringify(view)).join(",")}]`;
  for (let i = 0; i < 50; i++) await round(batch());
  const start = now();
  for (let i = 0; i < 300; i++) await round(batch());
  const rate = 300 * 256 / (now() - start) * 1_000;
  await writer.close();
  await reader.cancel();
  await process.status;
  return { rate, lone, ready };
}

async function p50(run: () => unknown): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 500; i++) {
    const began = now();
    await run();
    times.push(now() - began);
  }
  return median(times);
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;
}
