import { readProc } from "./proc.ts";
import type { Row } from "./row.ts";
export interface LoadOptions {
  readonly seconds: number;
  readonly connections: number;
  readonly body: string;
}

export interface Measured {
  /** Requests per second. */
  readonly rps: number;
  /** Milliseconds. */
  readonly p99: number;
}

const here = (name: string) => new URL(name, import.meta.url).pathname;

/** Loads a URL with POST requests from a child process. */
export async function measureUrl(url: string, options: LoadOptions): Promise<Measured> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", here("http_load.ts"), JSON.stringify({ url, ...options })],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/**
 * CPU time a process has used, ms; NaN where there is no /proc. The kernel counts in 10 ms
 * (`USER_HZ` is 100), which is little against seconds of load.
 */
async function cpuTime(pid: number): Promise<number> {
  const stat = await readProc(`${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // from the third on
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** A server of `http_servers.ts` in a child process, for as long as `use` runs. */
async function withServer<T>(
  kind: string,
  use: (url: string, pid: number) => Promise<T>,
): Promise<T> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", here("http_servers.ts"), kind],
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    const { value } = await lines.read();
    return await use(`http://127.0.0.1:${Number(value)}/in`, child.pid);
  } finally {
    child.kill();
    await lines.cancel();
    await child.status;
  }
}

/** About 300 bytes of JSON. */
const BODY = JSON.stringify({ id: 7, name: "order", note: "x".repeat(260) });

/**
 * A bare Hono route against ours.
 *
 * Server and load share the cores of a small machine, so requests per second of two servers lie closer
 * together than the servers do. CPU time per request of the server alone is the figure to trust.
 *
 * @param target URL of a running flow that answers POST, and where known the process that serves it;
 * an endpoint without a flow when left out.
 */
export async function benchHttp(
  target?: { readonly url: string; readonly pid?: number },
  options: LoadOptions = { seconds: 3, connections: 32, body: BODY },
): Promise<Row[]> {
  const measure = async (url: string, pid = 0) => {
    const before = await cpuTime(pid);
    const measured = await measureUrl(url, options);
    // The second that warms up is load as well.
    const requests = measured.rps * (options.seconds + Math.min(1, options.seconds));
    return { ...measured, cpu: (await cpuTime(pid) - before) * 1000 / requests };
  };
  const raw = await withServer("raw", measure);
  const ours = target
    ? await measure(target.url, target.pid)
    : await withServer("endpoint", measure);
  const name = target ? "HTTP POST 300 B through a flow" : "HTTP POST 300 B to http_endpoint";
  return [
    { name, ours: ours.rps, raw: raw.rps, unit: "req/s", goal: { ratio: 0.7 } },
    { name: `${name}, p99`, ours: ours.p99, raw: raw.p99, unit: "ms", goal: { ratio: 3 } },
    {
      name: `${name}, CPU per request`,
      ours: ours.cpu,
      raw: raw.cpu,
      unit: "µs",
      goal: { ratio: 1 / 0.7 },
    },
  ];
}
