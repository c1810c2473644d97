/**
 * Three nats-servers and three flowgen nodes on this machine, until Ctrl-C.
 *
 * `--free` takes any free ports instead of 4222…, 3001… and 8081….
 */
import { join } from "node:path";

const HERE = import.meta.dirname!;
const ROOT = join(HERE, "../..");
const SIZE = 3;
const free = Deno.args.includes("--free");

const folder = await Deno.makeTempDir({ prefix: "flowgen-cluster-" });
const [clients, routes] = [ports(4222), ports(6222)];
const [http, health] = [ports(3001), ports(8081)];
const servers = new Set<Deno.ChildProcess>();
const nodes = new Set<Deno.ChildProcess>();
let stopping = false;

/** The ports from `first` on, or free ones. */
function ports(first: number): number[] {
  if (!free) return Array.from({ length: SIZE }, (_, n) => first + n);
  const listeners = Array.from(
    { length: SIZE },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const found = listeners.map(({ addr }) => addr.port);
  for (const listener of listeners) listener.close();
  return found;
}

async function startServer(n: number): Promise<void> {
  const file = join(folder, `nats-${n + 1}.conf`);
  await Deno.writeTextFile(
    file,
    `server_name: nats-${n + 1}
listen: 127.0.0.1:${clients[n]}
jetstream { store_dir: ${JSON.stringify(join(folder, `nats-${n + 1}`))}, sync_interval: always }
cluster {
  name: example
  listen: 127.0.0.1:${routes[n]}
  routes: [${routes.map((port) => `nats://127.0.0.1:${port}`).join(", ")}]
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
      FLOWGEN_CACHE__URL: clients.map((port) => `127.0.0.1:${port}`).join(","),
      FLOWGEN_HTTP_SERVER__PORT: String(http[n]),
      FLOWGEN_HEALTH__PORT: String(health[n]),
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
    `node-${n + 1} | http://localhost:${http[n]}/export  http://localhost:${health[n]}/cluster`,
  );
}
