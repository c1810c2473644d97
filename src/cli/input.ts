import { FlowError } from "../core/errors.ts";

/** The text of a file, or of standard input for `-`. */
export async function readText(file: string): Promise<string> {
  return await new Response(await open(file)).text();
}

/** The lines of a file, or of standard input for `-`, each as soon as it is there. */
export async function* linesOf(file: string): AsyncGenerator<string> {
  let rest = "";
  for await (const part of (await open(file)).pipeThrough(new TextDecoderStream())) {
    const lines = (rest + part).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}

async function open(file: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  if (file === "-") return Deno.stdin.readable;
  try {
    return (await Deno.open(file)).readable;
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound ? "" : `: ${(cause as Error).message}`;
    throw new FlowError("usage.file_missing", `Cannot open the file "${file}"${why}`, { cause });
  }
}
