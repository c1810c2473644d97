/**
 * Three nats-servers and three flowgen nodes on this machine, until Ctrl-C.
 *
 * `--free` takes any free ports instead of 4222…, 3001… and 8081….
 */
import { join } from "node:path";

const HERE = import.meta.dirname!;
const ROOT = join(HERE, "../..");
const SIZE = 3;
/** The first of `SIZE` ports each. */
const [clients, routes, http, health] = Deno.args.includes("--free")
  ? freePorts()
  : [4222, 6222, 3001, 8081] as const;

const folder = await Deno.makeTempDir({ prefix: "flowgen-cluster-" });
const servers = new Set<Deno.ChildProcess>();
const nodes = new Set<Deno.ChildProcess>();
let stopping = false;

/** Below those that systems hand out by themselves: they stay free until they are used. */
function freePorts(): readonly [number, number, number, number] {
  for (;;) {
    const first = 10_000 + Math.floor(Math.random() * 20_000);
    const needed = Array.from({ length: 4 * SIZE }, (_, n) => first + n);
    if (needed.every(isFree)) return [first, first + SIZE, first + 2 * SIZE, first + 3 * SIZE];
  }
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch {
    return false;
  }
}

function addresses(first: number): string[] {
  return Array.from({ length: SIZE }, (_, n) => `127.0.0.1:${first + n}`);
}

async function startServer(n: number): Promise<void> {
  const file = join(folder, `nats-${n + 1}.conf`);
  await Deno.writeTextFile(
    file,
    `server_name: nats-${n + 1}
listen: 127.0.0.1:${clients + n}
jetstream { store_dir: ${JSON.stringify(join(folder, `nats-${n + 1}`))}, sync_interval: always }
cluster {
  name: example
  listen: 127.0.0.1:${routes + n}
  routes: [${addresses(routes).map((address) => `nats://${address}`).join(", ")}]
}
`,
  );
  // What servers have to say of themselves stands in the way here.
  const args = ["-c", file, "-l", join(folder, `nats-${n + 1}.log`)];
  show(`nats-${n + 1}`, new Deno.Command("nats-server", { args, ...PIPED }), servers);
}

function startNode(n: number): void {
  const command = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      `--config=${join(ROOT, "deno.json")}`,
      "--no-prompt",
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--allow-env",
      "--allow-sys=hostname",
      `--allow-run=${Deno.execPath()}`,
      join(ROOT, "src/main.ts"),
      "run",
      "--config",
      join(HERE, "config.yaml"),
      "--text",
    ],
    env: {
      FLOWGEN_CACHE__URL: addresses(clients).join(","),
      FLOWGEN_HTTP_SERVER__PORT: String(http + n),
      FLOWGEN_HEALTH__PORT: String(health + n),
      FLOWGEN_CONTROL__PATH: join(folder, `node-${n + 1}.sock`),
    },
    ...PIPED,
  });
  show(`node-${n + 1}`, command, nodes);
}

/** Starts it and prints its lines with its name in front. */
function show(name: string, command: Deno.Command, group: Set<Deno.ChildProcess>): void {
  const child = command.spawn();
  group.add(child);
  console.log(`${name} | process ${child.pid}`);
  for (const stream of [child.stdout, child.stderr]) void print(name, stream);
  void child.status.then(({ code, signal }) => {
    group.delete(child);
    if (!stopping) console.log(`${name} | ended (${signal ?? code})`);
  });
}

async function print(name: string, stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
  let rest = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + part).split("\n");
    rest = lines.pop()!;
    for (const line of lines) console.log(`${name} | ${line}`);
  }
}

/** Nodes first: they hand their flows over while there is a server to tell. */
async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  for (const group of [nodes, servers]) {
    const ended = [...group].map(({ status }) => status);
    for (const child of group) child.kill("SIGTERM");
    await Promise.all(ended);
  }
  await Deno.remove(folder, { recursive: true });
  Deno.exit(0);
}

// Ctrl-C in a terminal goes to a whole process group; these are told one after another.
const PIPED = { stdin: "null", stdout: "piped", stderr: "piped", detached: true } as const;

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => void stop());
}
for (let n = 0; n < SIZE; n++) await startServer(n);
for (let n = 0; n < SIZE; n++) startNode(n);
for (let n = 0; n < SIZE; n++) {
  console.log(
    `node-${n + 1} | http://localhost:${http + n}/export  http://localhost:${health + n}/cluster`,
  );
}
