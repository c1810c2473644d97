/** Programs that tests need: taken from PATH, else built once into a cache folder of the project. */
import { join } from "node:path";

const CACHE = join(import.meta.dirname!, "../../.cache/servers");

export interface Program {
  readonly name: string;
  /** What `go install` builds it from, and the pinned version. */
  readonly module: string;
  readonly version: string;
  /** Whether the one on PATH will do, by what `name ...ask` prints. */
  readonly ask: readonly string[];
  readonly fits: (printed: string) => boolean;
}

const found = new Map<string, Promise<string>>();

/**
 * Path of the program. The first call may build it, which takes up to a few minutes.
 *
 * @throws when there is neither the program nor Go to build it; tests that need it fail then, since a
 * promise that was not tested is not kept.
 */
export function provide(program: Program): Promise<string> {
  const known = found.get(program.name) ?? find(program);
  found.set(program.name, known);
  return known;
}

async function find(program: Program): Promise<string> {
  const onPath = await printed(program.name, program.ask);
  if (onPath !== null && program.fits(onPath)) return program.name;
  const folder = join(CACHE, `${program.name}-${program.version}`);
  const path = join(folder, program.name);
  await Deno.mkdir(folder, { recursive: true });
  // Other test processes wait for the one that builds.
  using lock = await Deno.open(join(folder, "lock"), { write: true, create: true });
  await lock.lock(true);
  if (await printed(path, program.ask) === null) await build(program, folder);
  return path;
}

async function build({ name, module, version }: Program, folder: string): Promise<void> {
  console.error(`building ${name} ${version} (once)`);
  const go = new Deno.Command("go", {
    args: ["install", `${module}@${version}`],
    env: { GOBIN: folder, CGO_ENABLED: "0" },
    stdout: "inherit",
    stderr: "inherit",
  });
  const { success } = await go.output().catch((cause) => {
    throw new Error(`Cannot find ${name}: put it on PATH, or install Go`, { cause });
  });
  if (!success) throw new Error(`Cannot build ${name} ${version} from ${module}`);
}

/** What the program prints; `null` when it cannot be run. */
async function printed(command: string, args: readonly string[]): Promise<string | null> {
  try {
    const output = await new Deno.Command(command, { args: [...args] }).output();
    const decoder = new TextDecoder();
    return output.success ? decoder.decode(output.stdout) + decoder.decode(output.stderr) : null;
  } catch {
    return null;
  }
}
