/**
 * Loads one URL with POST requests over keep-alive connections and prints `{ rps, p99 }`. Runs in a
 * process of its own, so that it does not share an event loop with what it measures:
 *
 * ```text
 * deno run -A bench/http_load.ts '{"url":"http://127.0.0.1:3000/in","seconds":3,"connections":32,"body":"{}"}'
 * ```
 */
interface Load {
  url: string;
  seconds: number;
  connections: number;
  body: string;
}

const load: Load = JSON.parse(Deno.args[0]!);
const url = new URL(load.url);
const body = new TextEncoder().encode(load.body);
const head = `POST ${url.pathname} HTTP/1.1\r\nhost: ${url.host}\r\n` +
  `content-type: application/json\r\ncontent-length: ${body.byteLength}\r\n\r\n`;
const request = new Uint8Array([...new TextEncoder().encode(head), ...body]);
const latin = new TextDecoder("latin1");

/** One request after another on one connection until `end`; latencies in ms. */
async function client(end: number, latencies: number[]): Promise<void> {
  const connection = await Deno.connect({ hostname: url.hostname, port: Number(url.port) });
  connection.setNoDelay();
  const buffer = new Uint8Array(65_536);
  try {
    for (;;) {
      const start = performance.now();
      if (start >= end) return;
      await connection.write(request);
      let filled = 0;
      let whole = Infinity;
      while (filled < whole) {
        const count = await connection.read(buffer.subarray(filled));
        if (count === null) throw new Error("The server closed the connection");
        filled += count;
        if (whole === Infinity) whole = lengthOf(latin.decode(buffer.subarray(0, filled)));
      }
      latencies.push(performance.now() - start);
    }
  } finally {
    connection.close();
  }
}

/** Bytes of the whole response, `Infinity` until its head is complete. */
function lengthOf(text: string): number {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return Infinity;
  if (!text.startsWith("HTTP/1.1 2")) throw new Error(`Unexpected answer: ${text.slice(0, 200)}`);
  const length = /content-length: (\d+)/i.exec(text.slice(0, end));
  return end + 4 + Number(length?.[1] ?? 0);
}

async function run(seconds: number): Promise<number[]> {
  const latencies: number[] = [];
  const end = performance.now() + seconds * 1000;
  await Promise.all(Array.from({ length: load.connections }, () => client(end, latencies)));
  return latencies;
}

await run(Math.min(1, load.seconds)); // lets both sides compile their hot paths
const latencies = (await run(load.seconds)).sort((a, b) => a - b);
const p99 = latencies[Math.floor(latencies.length * 0.99)] ?? 0;
console.log(JSON.stringify({ rps: latencies.length / load.seconds, p99 }));
