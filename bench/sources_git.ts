/** Reading Git repositories, beside native git on the same server. */
import { join } from "node:path";
import { systemClock } from "../src/core/clock.ts";
import { silentLog } from "../src/core/log.ts";
import { GitSource } from "../src/source/git/git.ts";
import { makeRepository, manyFiles, Repository } from "../tests/services/git/http_server.ts";
import type { Row } from "./row.ts";
import { type FirstRead, firstRead } from "./sources_child.ts";
import { CountingFetch } from "./sources_count.ts";
import { inScratch, type Place } from "./sources_scratch.ts";
import { withGitServer } from "./sources_git_server.ts";
import type { Report, Size } from "./suites.ts";
import { inTurns, median, timed } from "./turns.ts";

const SIZES = [10, 1_000, 10_000];
const ROUNDS = 5;
const TICKS = 50;
const LIMITS = { maxFileSize: 1_000_000, maxTotalSize: 10_000_000, maxFiles: 20_000 };
/** "Not slower than native git". */
const GOAL = { ratio: 1 };

/** First syncs by size, then what the largest costs when nothing or one file changed. */
export async function benchGit(size: Size): Promise<Report> {
  const root = await Deno.makeTempDir({ prefix: "flowgen-bench-" });
  try {
    const counts = SIZES.map((count) => count === 10 ? count : size(count));
    const repositories: Repository[] = [];
    for (const count of counts) repositories.push(await filled(root, count));
    return await withGitServer(root, async (url) => {
      const firsts: Awaited<ReturnType<typeof firstSync>>[] = [];
      for (const count of counts) firsts.push(await firstSync(`${url}/r${count}.git`, count));
      const later = await laterSyncs(root, `${url}/r${counts.at(-1)}.git`, repositories.at(-1)!);
      const { peak: idle } = await firstRead(null);
      const inMs = (of: "load" | "again") =>
        firsts.map((first) => first[of].toFixed(0)).join(", ") + " ms";
      const facts = [
        `git, of these first syncs loading the reader took ${inMs("load")}; ` +
        `a second reader in the same process takes ${inMs("again")}`,
        ...later.facts,
        `memory peak of a process that reads ${counts.at(-1)} files ` +
        `${firsts.at(-1)!.peak.toFixed(0)} MB, of one that reads nothing ${idle.toFixed(0)} MB`,
      ];
      return { rows: [...firsts.flatMap(({ rows }) => rows), ...later.rows], facts };
    });
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

/** A repository `r<count>.git` of flow files, packed as on a server. */
async function filled(root: string, count: number): Promise<Repository> {
  const repository = await makeRepository(root, `r${count}`);
  // Git packs by itself in the background after large commits, also while we measure.
  await repository.git("config", "gc.auto", "0");
  await repository.git("config", "maintenance.auto", "false");
  await repository.commit(manyFiles(count));
  await repository.git("gc", "--quiet");
  return repository;
}

/** Ours in a new process each time, without its start, against `git clone` into a new folder. */
async function firstSync(url: string, files: number) {
  const reads: FirstRead[] = [];
  const cloned = (place: Place) => inScratch(place, (folder) => timed(() => clone(url, folder)));
  const times = await inTurns(ROUNDS, {
    ours: async () => {
      const read = await firstRead({ git: { url, branch: "main" } }, files);
      reads.push(read);
      return read.ms;
    },
    disk: () => cloned("disk"),
    memory: () => cloned("memory"),
  });
  const name = `git, first sync of ${files.toLocaleString("en")} files`;
  const row = (place: Place): Row => ({
    name: `${name} / git clone --depth 1 to ${place}`,
    ours: times.ours,
    raw: times[place],
    unit: "ms",
    goal: GOAL,
  });
  return {
    rows: [row("disk"), row("memory")],
    load: median(reads.map(({ load }) => load)),
    again: median(reads.map(({ again }) => again)),
    peak: Math.max(...reads.map(({ peak }) => peak)),
  };
}

async function laterSyncs(root: string, url: string, repository: Repository) {
  const counting = new CountingFetch();
  const source = new GitSource({
    url,
    ref: { branch: "main" },
    limits: LIMITS,
    clock: systemClock,
    log: silentLog,
    fetch: counting.fetch,
  });
  let { version } = (await source.read(null))!;
  counting.taken();
  await source.read(version);
  const tick = counting.taken();
  const ticks = await inTurns(TICKS, {
    ours: () => timed(() => source.read(version)),
    raw: () => timed(() => counting.repeat()),
  });
  counting.taken();
  const folder = join(root, "clone");
  await clone(url, folder);
  const clonedTo = new Repository(folder);
  let commits = 0;
  let change = "";
  const times = await inTurns(ROUNDS, {
    ours: async () => {
      const text = `flow:\n  tasks:\n    - log: { name: say, message: commit ${++commits} }\n`;
      await repository.commit({ "flows/g00/f0.yaml": text });
      const took = await timed(async () => version = (await source.read(version))!.version);
      change = counting.taken();
      return took;
    },
    raw: () =>
      timed(async () => {
        await clonedTo.git("-c", "protocol.version=2", "fetch", "--quiet", "--depth=1", "origin");
        await clonedTo.git("reset", "--quiet", "--hard", "FETCH_HEAD");
      }),
  });
  const rows: Row[] = [
    {
      name: "git, one file changed / git fetch --depth 1, reset",
      ...times,
      unit: "ms",
      goal: GOAL,
    },
  ];
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const facts = [
    `git, nothing changed: ${tick}, ${ms(ticks.ours)} (the same request alone ${ms(ticks.raw)})`,
    `git, one file changed: ${change}`,
  ];
  return { rows, facts };
}

/** Into an empty folder, or a new one. */
async function clone(url: string, folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const args = ["clone", "--quiet", "--depth=1", url, "."];
  await new Repository(folder).git("-c", "protocol.version=2", ...args);
}
