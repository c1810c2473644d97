/** Reading OCI artifacts, beside curl and tar on the same registry. */
import { join } from "node:path";
import { systemClock } from "../src/core/clock.ts";
import { silentLog } from "../src/core/log.ts";
import { ociSource } from "../src/source/oci/oci_source.ts";
import { Registry } from "../tests/services/oci/registry.ts";
import { firstRead } from "./sources_child.ts";
import { CountingFetch } from "./sources_count.ts";
import { inScratch, type Place } from "./sources_scratch.ts";
import type { Report, Size } from "./suites.ts";
import { inTurns, timed } from "./turns.ts";

const LAYERS = 1_000;
/** Files of the one large layer, a megabyte each. */
const FILES = 100;
/** Downloads under way, as many as ours. */
const AT_ONCE = 4;
const ROUNDS = 5;
const TICKS = 50;
/** Faster than `curl | tar`. */
const GOAL = { ratio: 1 };
const LIMITS = { maxFileSize: 10 * 2 ** 20, maxTotalSize: 100 * 2 ** 20, maxFiles: 20_000 };

/** Many small layers, one large layer, and a tag that has not moved. */
export async function benchOci(size: Size): Promise<Report> {
  await using registry = await Registry.start();
  const small = await manyLayers(registry, size(LAYERS));
  const large = await largeLayer(registry, size(FILES));
  const { peak: idle } = await firstRead(null);
  return {
    rows: [small.row, ...large.rows],
    facts: [
      small.fact,
      await nothingChanged(`${registry.host}/bench/many:v1`),
      `memory peak of a process that reads ${size(LAYERS)} layers ${small.peak.toFixed(0)} MB, ` +
      `one layer of ${size(FILES)} MB ${large.peak.toFixed(0)} MB, nothing ${idle.toFixed(0)} MB`,
    ],
  };
}

async function manyLayers(registry: Registry, count: number) {
  const { folder, host } = registry;
  const names = Array.from({ length: count }, (_, i) => `f${i}.yaml`);
  for (const name of names) {
    const text = `flow:\n  tasks:\n    - log: { name: say, message: ${name} }\n`;
    await Deno.writeTextFile(join(folder, name), text);
  }
  await registry.oras(["push", "--concurrency", "8", `${host}/bench/many:v1`, ...names]);
  const digests = await layersOf(host, "bench/many");
  const lines = (line: (digest: string, i: number) => string) =>
    digests.map((digest, i) => `${line(digest, i)}\n`).join("");
  await Deno.writeTextFile(
    join(folder, "urls"),
    lines((digest, i) => `url = ${blobUrl(host, "bench/many", digest)}\noutput = ${i}`),
  );
  await Deno.writeTextFile(
    join(folder, "sums"),
    lines((digest, i) => `${digest.replace("sha256:", "")}  ${i}`),
  );
  const curl = `curl -sf --parallel --parallel-max ${AT_ONCE}`;
  let peak = 0;
  const { fetched, ...times } = await inTurns(ROUNDS, {
    ours: async () => {
      const read = await firstRead({ oci: { artifact: `${host}/bench/many:v1` } }, count);
      peak = Math.max(peak, read.peak);
      return read.ms;
    },
    raw: () => shell("memory", `${curl} -K ${folder}/urls && sha256sum --quiet -c ${folder}/sums`),
    fetched: () => timed(() => fetchAll(host, digests)),
  });
  const name = `OCI, ${count.toLocaleString("en")} layers / curl --parallel, sha256sum`;
  const fact = `OCI, ${count.toLocaleString("en")} layers by bare fetch: ${fetched.toFixed(0)} ms`;
  return { row: { name, ...times, unit: "ms" as const, goal: GOAL }, peak, fact };
}

/** What the platform's own client takes for it. */
async function fetchAll(host: string, digests: readonly string[]): Promise<void> {
  const left = digests.values();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const digest of left) {
      const response = await fetch(blobUrl(host, "bench/many", digest));
      const sum = await crypto.subtle.digest("SHA-256", await response.arrayBuffer());
      if (!digest.endsWith(new Uint8Array(sum).toHex())) throw new Error(`${digest} is not right`);
    }
  }));
}

async function largeLayer(registry: Registry, count: number) {
  const { folder, host } = registry;
  await Deno.mkdir(join(folder, "large"));
  for (let i = 0; i < count; i++) {
    const parts = Array.from({ length: 15 }, () => random(50_000));
    await Deno.writeTextFile(join(folder, "large", `${i}.txt`), parts.join(""));
  }
  await bash(folder, "tar -I 'gzip -1' -cf large.tar.gz large");
  const type = "application/vnd.example.layer.tar+gzip";
  await registry.oras(["push", `${host}/bench/large:v1`, `large.tar.gz:${type}`]);
  const [digest] = await layersOf(host, "bench/large");
  const get = `curl -sf ${blobUrl(host, "bench/large", digest!)}`;
  let peak = 0;
  const times = await inTurns(ROUNDS, {
    ours: async () => {
      const read = await firstRead({ oci: { artifact: `${host}/bench/large:v1` } }, count);
      peak = Math.max(peak, read.peak);
      return read.ms;
    },
    disk: () => shell("disk", `${get} | tar -xzf -`),
    memory: () => shell("memory", `${get} | tar -xzf -`),
    verified: () => shell("memory", `${get} | tee >(sha256sum >sum) | tar -xzf -`),
  });
  const row = (than: string, raw: number) => ({
    name: `OCI, layer of ${count} MB tar+gzip, verified / ${than}`,
    ours: times.ours,
    raw,
    unit: "ms" as const,
    goal: GOAL,
  });
  const rows = [
    row("curl to tar, to disk", times.disk),
    row("curl to tar, to memory", times.memory),
    row("curl to sha256sum and tar, to memory", times.verified),
  ];
  return { rows, peak };
}

async function nothingChanged(artifact: string): Promise<string> {
  const counting = new CountingFetch();
  const { fetch } = counting;
  const source = ociSource({ artifact, limits: LIMITS, clock: systemClock, log: silentLog, fetch });
  const { version } = (await source.read(null))!;
  counting.taken();
  await source.read(version);
  const taken = counting.taken();
  const { ours, raw } = await inTurns(TICKS, {
    ours: () => timed(() => source.read(version)),
    raw: () => timed(() => counting.repeat()),
  });
  return `OCI, nothing changed: ${taken}, ${ours.toFixed(1)} ms ` +
    `(the same request alone ${raw.toFixed(1)} ms)`;
}

/** Milliseconds that a line for bash takes in an empty folder. */
async function shell(place: Place, line: string): Promise<number> {
  return await inScratch(place, (folder) => timed(() => bash(folder, line)));
}

async function bash(cwd: string, line: string): Promise<void> {
  const command = new Deno.Command("bash", { args: ["-o", "pipefail", "-c", line], cwd });
  const { success, stderr } = await command.output();
  if (!success) throw new Error(`${line} failed: ${new TextDecoder().decode(stderr)}`);
}

async function layersOf(host: string, repository: string): Promise<string[]> {
  const response = await fetch(`http://${host}/v2/${repository}/manifests/v1`, {
    headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
  });
  const { layers } = await response.json() as { layers: { digest: string }[] };
  return layers.map(({ digest }) => digest);
}

function blobUrl(host: string, repository: string, digest: string): string {
  return `http://${host}/v2/${repository}/blobs/${digest}`;
}

/** Text that gzip makes a quarter smaller. */
function random(bytes: number): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toBase64();
}
