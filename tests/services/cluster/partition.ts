/** Runtimes and servers in network namespaces of their own, whose links are cut and mended. */
import { join } from "node:path";
import { NATS_SERVER, until } from "../nats/server.ts";
import { provide } from "../provision.ts";
import type { Chance } from "./kills.ts";
import { Net, type Place } from "./net.ts";
import { Population } from "./population.ts";
import { PATIENCE, Scene } from "./scene.ts";

const SIZE = 3;
const PORT = 4222;

/** Three servers and three runtimes on a network that can be parted. */
export class PartedScene implements AsyncDisposable {
  private constructor(
    readonly scene: Scene,
    readonly flows: Population,
    readonly net: Net,
    readonly servers: readonly Place[],
    readonly runtimes: ReadonlyMap<number, Place>,
    readonly stack: AsyncDisposableStack,
  ) {}

  static async open(lease: string): Promise<PartedScene> {
    await using stack = new AsyncDisposableStack();
    const net = stack.use(await Net.open());
    const servers: Place[] = [];
    for (let n = 1; n <= SIZE; n++) servers.push(await net.join(`nats-${n}`));
    const folder = await Deno.makeTempDir({ prefix: "flowgen-parted-" });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    for (const place of servers) stack.use(await startServer(place, servers, folder));
    await clusterIsReady(servers);
    const url = servers.map(({ address }) => `${address}:${PORT}`).join(",");
    const scene = stack.use(await Scene.open({ url, lease, cache: { replicas: SIZE } }));
    const runtimes = new Map<number, Place>();
    for (let n = 1; n <= SIZE; n++) {
      const place = await net.join(`node-${n}`);
      const { prefix, address: hostname } = place;
      const node = await scene.start({ prefix, hostname, healthPort: 8081 });
      runtimes.set(node.pid, place);
    }
    const flows = await Population.in(scene);
    return new PartedScene(scene, flows, net, servers, runtimes, stack.move());
  }

  /** Where the owner of the flow that counts is. */
  get owner(): Place {
    return this.runtimes.get(this.scene.journal.latest(this.flows.counted)!.pid)!;
  }

  /** The server that leads the store of claims. */
  async leader(): Promise<Place> {
    let found: Place | undefined;
    await until(
      async () => {
        for (const server of this.servers) {
          const { account_details = [] } = await jsz(server, "?streams=true");
          const streams = account_details.flatMap(({ stream_detail = [] }) => stream_detail);
          const name = streams.find((one) => one.name === "KV_flowgen_system")?.cluster?.leader;
          found = this.servers.find((one) => one.name === name) ?? found;
        }
        return found !== undefined;
      },
      PATIENCE,
      "the store has a leader",
    );
    return found!;
  }

  /**
   * Parts these places from all others for some time.
   *
   * @returns Milliseconds until all flows ran again, after it was over.
   */
  async part(places: readonly Place[], ms: number): Promise<number> {
    const { scene, flows, net } = this;
    await net.part(places.map(({ name }) => name));
    await new Promise((resolve) => setTimeout(resolve, ms));
    await net.heal();
    const healed = performance.now();
    // Packets that were lost are sent again after a while, and rights are won back after that.
    await scene.members(SIZE, scene.running[0]);
    await scene.alive(flows.all);
    const took = performance.now() - healed;
    scene.journal.check();
    return took;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}

/** Parts some of all, again and again; milliseconds until all was well each time. */
export async function partAgainAndAgain(
  parted: PartedScene,
  { times, chance }: { times: number; chance: Chance },
): Promise<number[]> {
  const { scene, servers, runtimes } = parted;
  const all = [...servers, ...runtimes.values()];
  const took: number[] = [];
  for (let n = 0; n < times; n++) {
    await parted.flows.renew();
    const leader = await parted.leader();
    const places = [
      [parted.owner],
      [leader],
      // An owner that talks to a server which believes that it leads.
      [parted.owner, leader],
      all.filter(() => chance() < 0.4),
    ][n % 4]!;
    const ms = scene.lease * (0.5 + 3 * chance());
    const names = places.map(({ name }) => name).join(" and ") || "nobody";
    const time = await parted.part(places, ms);
    console.log(`${names} parted for ${ms.toFixed(0)} ms: all runs after ${time.toFixed(0)} ms`);
    took.push(time);
  }
  return took;
}

async function startServer(
  { name, address, prefix }: Place,
  all: readonly Place[],
  folder: string,
): Promise<AsyncDisposable> {
  const file = join(folder, `${name}.conf`);
  const routes = all.map((one) => `"nats://${one.address}:6222"`).join(", ");
  await Deno.writeTextFile(
    file,
    `server_name: ${name}
listen: "${address}:${PORT}"
http: "${address}:8222"
jetstream { store_dir: "${join(folder, name)}", max_mem: 256M, max_file: 4G }
cluster { name: parted, listen: "${address}:6222", routes: [${routes}] }
`,
  );
  const [command, ...args] = [...prefix, await provide(NATS_SERVER), "-c", file];
  const child = new Deno.Command(command!, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
    },
  };
}

async function clusterIsReady(servers: readonly Place[]): Promise<void> {
  await until(
    async () => {
      const healthy = await Promise.all(servers.map(async ({ address }) => {
        const response = await fetch(`http://${address}:8222/healthz`).catch(() => null);
        await response?.body?.cancel();
        return response?.ok === true;
      }));
      const { meta_cluster } = await jsz(servers[0]!, "");
      return healthy.every(Boolean) && !!meta_cluster?.leader;
    },
    PATIENCE,
    "the servers are a cluster",
  );
}

interface Jsz {
  readonly meta_cluster?: { readonly leader?: string };
  readonly account_details?: readonly {
    readonly stream_detail?: readonly { name: string; cluster?: { leader?: string } }[];
  }[];
}

async function jsz({ address }: Place, query: string): Promise<Jsz> {
  try {
    const signal = AbortSignal.timeout(2_000);
    return await (await fetch(`http://${address}:8222/jsz${query}`, { signal })).json();
  } catch {
    return {};
  }
}
