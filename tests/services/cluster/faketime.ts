/** The wall clock of a process, set by libfaketime; its monotonic clock goes on as it is. */
import { join } from "node:path";

const PLACES = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib"];

export interface FakedClock extends AsyncDisposable {
  /** For the process. */
  readonly env: Readonly<Record<string, string>>;
  /** Sets the clock so many seconds further, or back. */
  readonly step: (seconds: number) => Promise<void>;
}

/** @throws when the library is not there. */
export async function fakedClock(): Promise<FakedClock> {
  const library = await find();
  const folder = await Deno.makeTempDir({ prefix: "flowgen-clock-" });
  const file = join(folder, "time");
  let offset = 0;
  const write = async () => {
    await Deno.writeTextFile(`${file}.new`, `${offset < 0 ? "" : "+"}${offset}\n`);
    await Deno.rename(`${file}.new`, file);
  };
  await write();
  return {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    },
    step: async (seconds) => {
      offset += seconds;
      await write();
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

async function find(): Promise<string> {
  for (const place of PLACES) {
    const path = join(place, "faketime/libfaketime.so.1");
    const found = await Deno.stat(path).then(() => true, () => false);
    if (found) return path;
  }
  throw new Error(`Cannot step clocks without libfaketime, looked for in ${PLACES.join(", ")}`);
}
