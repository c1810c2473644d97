/**
 * Reads a place in this process, or none for `null`, and prints how long that took, how much memory the
 * process had at most by then, and how long a second reader takes.
 */
import { systemClock } from "../src/core/clock.ts";
import { silentLog } from "../src/core/log.ts";
import type { Remote } from "../src/flow/remote.ts";
import { remoteOpener } from "../src/source/remote.ts";
import { readProc } from "./proc.ts";
import { timed } from "./turns.ts";

export interface FirstRead {
  /** Milliseconds, with `load`. */
  readonly ms: number;
  /** Of them, loading the reader, which a runtime that has another source has done before. */
  readonly load: number;
  /** Milliseconds that another reader of the same place takes afterwards, when the code is warm. */
  readonly again: number;
  /** MB; NaN where there is no /proc. */
  readonly peak: number;
}

/** Those of `sources:` when nothing is said. */
const limits = { max_file_size: 10 * 2 ** 20, max_total_size: 100 * 2 ** 20, max_files: 20_000 };

/** Reads a place in a process of its own. */
export async function firstRead(
  place: Pick<Remote, "git" | "oci"> | null,
  files = 0,
): Promise<FirstRead> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.filename!, JSON.stringify(place)],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const { found, ms, load, again, peak } = JSON.parse(new TextDecoder().decode(stdout));
  if (found !== files) throw new Error(`${found} files were read, not ${files}`);
  return { ms, load, again, peak: peak ?? NaN };
}

if (import.meta.main) {
  const place = JSON.parse(Deno.args[0]!);
  const open = () => remoteOpener(systemClock)({ ...place, limits }, silentLog);
  let [found, load, again] = [0, 0, 0];
  const ms = await timed(async () => {
    if (!place) return;
    const start = performance.now();
    const source = await open();
    load = performance.now() - start;
    found = (await source.read(null))!.files.size;
  });
  const status = await readProc(`${Deno.pid}/status`);
  const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? NaN) / 1_024;
  if (place) again = await timed(async () => await (await open()).read(null));
  console.log(JSON.stringify({ found, ms, load, again, peak }));
}
