/**
 * `deno task soak [seconds]`: a runtime under mixed load, 60 s by default, watching that memory levels
 * off and that every request is answered. Exits with 1 when it does not.
 */
import { createRuntime } from "../mod.ts";
import { checkConfig } from "../src/config/load.ts";

const seconds = Number(Deno.args[0] ?? 60);
const folder = await Deno.makeTempDir({ prefix: "flowgen-soak-" });
await Deno.mkdir(`${folder}/flows`);

const FLOWS: Record<string, string> = {
  "echo.yaml": `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /echo, method: POST }
    - script: { name: out, code: "return { id: event.data.payload.id }" }
`,
  "batch.yaml": `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /batch, method: POST, ack_timeout: 10s }
    - buffer: { name: batch, size: 16, timeout: 50ms }
    - store_kv: { name: keep, operation: put, key: last }
`,
  "tick.yaml": `flow:
  tasks:
    - generate: { name: tick, interval: 10ms, payload: { items: [1, 2, 3] } }
    - iterate: { name: each, iterate_key: items }
    - script: { name: broken, code: "if (event.data === 2) throw new Error('two'); return event" }
    - log: { name: dead, when: error, level: trace }
`,
};
for (const [name, text] of Object.entries(FLOWS)) {
  await Deno.writeTextFile(`${folder}/flows/${name}`, text);
}
const runtime = createRuntime(checkConfig({
  flows: { path: `${folder}/flows` },
  cache: { path: `${folder}/store.sqlite3` },
  http_server: { port: 0, hostname: "127.0.0.1" },
  health: { enabled: false },
}));
await runtime.start();
const base = `http://127.0.0.1:${runtime.status().http!.port}`;

const end = performance.now() + seconds * 1_000;
let answered = 0;
let failed = 0;
const asking = Array.from({ length: 8 }, async (_, worker) => {
  const path = worker % 2 ? "/echo" : "/batch";
  while (performance.now() < end) {
    const response = await fetch(base + path, { method: "POST", body: `{"id":${answered}}` });
    await response.body?.cancel();
    if (response.ok) answered++;
    else failed++;
  }
});
const editing = (async () => {
  for (let n = 0; performance.now() < end; n++) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    await Deno.writeTextFile(`${folder}/flows/echo.yaml`, `${FLOWS["echo.yaml"]}# ${n}\n`);
  }
})();

// What the first third needs is warm-up; after that memory may move, but not grow by half.
const samples: number[] = [];
const sampling = (async () => {
  while (performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, (seconds * 1_000) / 60));
    samples.push(Deno.memoryUsage().rss / 2 ** 20);
  }
})();
await Promise.all([...asking, editing, sampling]);
const open = runtime.status().flows.map((flow) => `${flow.identity} ${flow.state} ${flow.open}`);
const inTime = await runtime.stop();
await Deno.remove(folder, { recursive: true });

const third = Math.floor(samples.length / 3);
const peak = (part: number[]) => Math.max(...part);
const before = peak(samples.slice(third, 2 * third));
const after = peak(samples.slice(2 * third));
console.log(`${answered} answered, ${failed} failed, flows: ${open.join(", ")}`);
console.log(
  `memory ${before.toFixed(0)} MB, then ${after.toFixed(0)} MB; stopped in time: ${inTime}`,
);
const good = failed === 0 && inTime && after < before * 1.5;
console.log(good ? "soak passed" : "soak failed");
Deno.exit(good ? 0 : 1);
