/** Publishing a large workspace into Deno KV. */
import { join } from "node:path";
import { EndpointApp } from "../src/app/endpoints.ts";
import { systemClock } from "../src/core/clock.ts";
import { silentLog } from "../src/core/log.ts";
import { listedEnv } from "../src/flow/env.ts";
import { snapshotFile } from "../src/flow/snapshot_file.ts";
import type { Snapshot } from "../src/flow/source.ts";
import { TimerScheduler } from "../src/scheduler/timers.ts";
import { createScriptEngines } from "../src/script/mod.ts";
import { FileResources } from "../src/source/file_resources.ts";
import { openDenoKv } from "../src/store/open.ts";
import { builtinTasks } from "../src/tasks/mod.ts";
import { snapshotChecker } from "../src/workspace/check.ts";
import { StoreWorkspaces } from "../src/workspace/workspaces.ts";
import type { Report, Size } from "./suites.ts";
import { median, timed } from "./turns.ts";

const FILES = 10_000;
const ROUNDS = 3;
/** Keys of a commit of the bare side; Deno KV takes no more than 1,000, and 800 KiB. */
const COMMIT = 100;

const FLOW = `flow:
  tasks:
    - generate: { name: tick, interval: 1h, payload: { text: "TEXT" } }
    - filter: { name: all, condition: true }
    - log: { name: say }
`;

/** 10,000 flow files, all new, then one of them changed; the bare side only writes as many values. */
export async function benchPublish(size: Size): Promise<Report> {
  const count = size(FILES);
  const rounds: { raw: number; first: number; checked: number; change: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const folder = await Deno.makeTempDir({ prefix: "flowgen-bench-" });
    try {
      const raw = await bare(join(folder, "bare.sqlite3"), snapshotOf(count));
      rounds.push({ raw, ...await publish(join(folder, "store.sqlite3"), count) });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
  const ms = (of: keyof (typeof rounds)[number]) =>
    `${median(rounds.map((round) => round[of])).toFixed(0)} ms`;
  const files = `${count.toLocaleString("en")} files`;
  return {
    rows: [],
    facts: [
      `publish of ${files} to a workspace on Deno KV: ${ms("first")}, ` +
      `of which checking the flows ${ms("checked")}; ` +
      `bare Deno KV writes them in ${ms("raw")} by ${COMMIT} keys a commit`,
      `publish when one of ${files} changed: ${ms("change")}`,
    ],
  };
}

async function publish(path: string, count: number) {
  await using store = await openDenoKv(path, systemClock);
  await using scripts = createScriptEngines({
    isolation: "none",
    defaultLanguage: "js",
    clock: systemClock,
    log: silentLog,
  });
  const check = snapshotChecker({
    definitions: new Map(builtinTasks.map((task) => [task.type, task])),
    env: listedEnv(() => undefined, []),
    resources: new FileResources(undefined),
    services: {
      scripts,
      scheduler: new TimerScheduler({ clock: systemClock }),
      endpoints: new EndpointApp({ enabled: true, path: "" }),
    },
  });
  let checked = 0;
  const workspaces = new StoreWorkspaces({
    store,
    clock: systemClock,
    log: silentLog,
    async check(name, flows) {
      const start = performance.now();
      const findings = await check(name, flows);
      checked = performance.now() - start;
      return findings;
    },
  });
  const live = async (snapshot: Snapshot) => {
    const { outcome, findings } = await workspaces.publish("bench", snapshot);
    if (outcome !== "activated") throw new Error(`It is ${outcome}: ${findings[0]?.message}`);
  };
  const first = await timed(() => live(snapshotOf(count)));
  const whole = checked;
  const change = await timed(() => live(snapshotOf(count, "changed")));
  return { first, checked: whole, change };
}

async function bare(path: string, { files }: Snapshot): Promise<number> {
  const kv = await Deno.openKv(path);
  const values = [...files.values()];
  const took = await timed(async () => {
    for (let at = 0; at < values.length; at += COMMIT) {
      const commit = kv.atomic();
      for (const file of values.slice(at, at + COMMIT)) commit.set(["b", file.path], file.bytes());
      await commit.commit();
    }
  });
  kv.close();
  return took;
}

/** @param version Also what the first flow says. */
function snapshotOf(count: number, version = "first"): Snapshot {
  const encoder = new TextEncoder();
  const files = Array.from({ length: count }, (_, i) => {
    const path = `flows/g${i % 100}/f${i}.yaml`;
    const text = FLOW.replace("TEXT", i === 0 ? version : `hello ${i}`);
    return [path, snapshotFile(path, path, encoder.encode(text))] as const;
  });
  return { version, files: new Map(files), problems: [] };
}
