/** Whole processes: how soon they answer, how much memory they hold, how fast a change is live. */
import { readProc } from "./proc.ts";
import type { Row } from "./row.ts";

const root = new URL("..", import.meta.url).pathname;
const exec = Deno.execPath();

/** The permissions of `deno task start`. */
const FLAGS = [
  "run",
  "--cached-only",
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  `--allow-run=${exec}`,
];

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!;

/** Wall time of a command that ends by itself, milliseconds, median of `runs`. */
async function timeOf(args: string[], runs = 7): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    const { success } = await new Deno.Command(exec, { args, cwd: root }).output();
    if (!success) throw new Error(`${args.join(" ")} failed`);
    times.push(performance.now() - start);
  }
  return median(times);
}

/** A server process until `use` is done; `first`: milliseconds from spawn to its first answer. */
async function withServer<T>(
  args: string[],
  url: string,
  use: (server: { pid: number; first: number }) => Promise<T>,
): Promise<T> {
  const start = performance.now();
  const child = new Deno.Command(exec, { args, cwd: root, stdout: "null", stderr: "null" }).spawn();
  try {
    await untilAnswered(url, 200, start);
    return await use({ pid: child.pid, first: performance.now() - start });
  } finally {
    child.kill("SIGTERM");
    await child.status;
  }
}

async function untilAnswered(url: string, status: number, start: number): Promise<void> {
  for (;;) {
    const answered = await fetch(url).then(
      async (response) => (await response.body?.cancel(), response.status === status),
      () => false,
    );
    if (answered) return;
    if (performance.now() - start > 60_000) throw new Error(`${url} never answered`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Resident memory, MB; NaN where there is no /proc. */
async function memoryOf(pid: number): Promise<number> {
  const status = await readProc(`${pid}/status`);
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? NaN) / 1024;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function config(folder: string, port: number): string {
  return JSON.stringify({
    flows: { path: `${folder}/flows` },
    cache: { path: `${folder}/store.sqlite3` },
    http_server: { port, hostname: "127.0.0.1" },
    health: { port: port + 1 },
    telemetry: { log: { level: "warning" } },
  });
}

const flow = (path: string, answer: string) =>
  `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /${path}, method: GET }
    - filter: { name: all, condition: true }
    - http_respond: { name: out, body: "${answer}" }
`;

async function inFolder<T>(flows: number, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "flowgen-bench-" });
  await Deno.mkdir(`${folder}/flows`);
  for (let i = 0; i < flows; i++) {
    await Deno.writeTextFile(`${folder}/flows/f${i}.yaml`, flow(`f${i}`, "0"));
  }
  try {
    return await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function start<T>(
  flows: number,
  port: number,
  use: (server: { pid: number; first: number; folder: string }) => Promise<T>,
): Promise<T> {
  return await inFolder(flows, async (folder) => {
    await Deno.writeTextFile(`${folder}/config.yaml`, config(folder, port));
    const args = [...FLAGS, "src/main.ts", "run", "--config", `${folder}/config.yaml`];
    const url = `http://127.0.0.1:${port}/f${flows - 1}`;
    return await withServer(args, url, (server) => use({ ...server, folder }));
  });
}

const HONO = `import { Hono } from "hono";
const app = new Hono().get("/f0", (c) => c.json("0"));
Deno.serve({ port: 4710, hostname: "127.0.0.1", onListen() {} }, app.fetch);`;

/** All process figures; about half a minute. */
export async function benchProcesses(): Promise<Row[]> {
  const empty = await Deno.makeTempFile({ suffix: ".ts" });
  const hono = `${root}bench/.hono.ts`;
  await Deno.writeTextFile(hono, HONO);
  try {
    const rows: Row[] = [{
      name: "flowgen --version",
      ours: await timeOf([...FLAGS, "src/main.ts", "--version"]),
      raw: await timeOf(["run", empty]),
      unit: "ms",
      goal: { value: 60 },
    }];
    const bare: { first: number; memory: number }[] = [];
    const ours: { first: number; memory: number }[] = [];
    for (let i = 0; i < 5; i++) {
      bare.push(
        await withServer(
          ["run", "--allow-net", hono],
          "http://127.0.0.1:4710/f0",
          async ({ pid, first }) => (await pause(500), { first, memory: await memoryOf(pid) }),
        ),
      );
      ours.push(
        await start(
          1,
          4720,
          async ({ pid, first }) => (await pause(500), { first, memory: await memoryOf(pid) }),
        ),
      );
    }
    rows.push({
      name: "first answer after spawn, one flow",
      ours: median(ours.map((one) => one.first)),
      raw: median(bare.map((one) => one.first)),
      unit: "ms",
      goal: { value: 120 },
    }, {
      name: "memory, idle, one flow",
      ours: median(ours.map((one) => one.memory)),
      raw: median(bare.map((one) => one.memory)),
      unit: "MB",
      goal: { value: 80 },
    });
    await start(1_000, 4730, async ({ pid, first }) => {
      await pause(1_000);
      rows.push(
        { name: "1,000 flows ready", ours: first, raw: NaN, unit: "ms", goal: { value: 1_000 } },
        {
          name: "memory, 1,000 flows",
          ours: await memoryOf(pid),
          raw: NaN,
          unit: "MB",
          goal: { value: 150 },
        },
      );
    });
    rows.push(await reload());
    return rows;
  } finally {
    await Deno.remove(hono);
    await Deno.remove(empty);
  }
}

async function reload(): Promise<Row> {
  const times: number[] = [];
  await start(1, 4740, async ({ folder }) => {
    await pause(500);
    for (let n = 1; n <= 9; n++) {
      const saved = performance.now();
      await Deno.writeTextFile(`${folder}/flows/f0.yaml`, flow("f0", String(n)));
      while (await (await fetch("http://127.0.0.1:4740/f0")).text() !== `"${n}"`) await pause(1);
      times.push(performance.now() - saved);
    }
  });
  // Saves within 0.1 s count as one, so that much is on purpose.
  return {
    name: "file saved until live",
    ours: median(times),
    raw: 100,
    unit: "ms",
    goal: { value: 250 },
  };
}
