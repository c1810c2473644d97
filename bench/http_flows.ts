/** HTTP through real flows in a real process, against a bare Hono route. */
import { benchHttp } from "./http.ts";
import type { Row } from "./row.ts";

const root = new URL("..", import.meta.url).pathname;
const PORT = 4750;

const FLOWS: Record<string, string> = {
  fused: `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /fused, method: POST }
    - filter: { name: all, condition: true }
    - http_respond: { name: out, body: { id: "{{event.data.payload.id}}", ok: true } }
`,
  script: `flow:
  tasks:
    - http_endpoint: { name: in, endpoint: /script, method: POST }
    - script: { name: out, code: "return { id: event.data.payload.id, ok: true }" }
`,
};

/** Two tasks fused, and one caged script; about 20 s. */
export async function benchHttpFlows(): Promise<Row[]> {
  const folder = await Deno.makeTempDir({ prefix: "flowgen-bench-" });
  await Deno.mkdir(`${folder}/flows`);
  for (const [name, text] of Object.entries(FLOWS)) {
    await Deno.writeTextFile(`${folder}/flows/${name}.yaml`, text);
  }
  const config = {
    flows: { path: `${folder}/flows`, watch: false },
    cache: { type: "memory" },
    http_server: { port: PORT, hostname: "127.0.0.1" },
    health: { enabled: false },
    telemetry: { log: { level: "warning" } },
  };
  await Deno.writeTextFile(`${folder}/config.yaml`, JSON.stringify(config));
  const server = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "src/main.ts", "run", "--config", `${folder}/config.yaml`],
    cwd: root,
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const rows: Row[] = [];
    for (const [name, goal] of [["fused", 0.7], ["script", 0.35]] as const) {
      const url = `http://127.0.0.1:${PORT}/${name}`;
      await untilAnswered(url);
      const measured = await benchHttp({ url, pid: server.pid });
      for (const row of measured) {
        const ours = row.unit === "req/s" ? { goal: { ratio: goal } } : {};
        rows.push({ ...row, ...ours, name: row.name.replace("a flow", `a ${name} flow`) });
      }
    }
    return rows;
  } finally {
    server.kill("SIGTERM");
    await server.status;
    await Deno.remove(folder, { recursive: true });
  }
}

async function untilAnswered(url: string): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    const answer = await fetch(url, {
      method: "POST",
      body: `{"id":1}`,
      headers: { "content-type": "application/json" },
    }).catch(() => null);
    await answer?.body?.cancel();
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${url} never answered`);
}
