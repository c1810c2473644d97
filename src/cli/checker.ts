import type { Config } from "../config/load.ts";
import { systemClock } from "../core/clock.ts";
import { FlowError, FlowErrors } from "../core/errors.ts";
import { silentLog } from "../core/log.ts";
import { wholeEnv } from "../flow/env.ts";
import type { Flow } from "../flow/flow.ts";
import type { Snapshot } from "../flow/source.ts";
import * as parts from "../parts.ts";
import { assignClaims } from "../reconcile/desired.ts";
import { FlowLoader } from "../reconcile/load_flows.ts";
import { openSource } from "../runtime/open_source.ts";
import { findingsOf } from "./exit.ts";

export interface Checked {
  /** Files that were read. */
  readonly files: number;
  readonly findings: readonly FlowError[];
  readonly warnings: Flow["warnings"];
}

/**
 * Checks flow files as a node with this configuration would, without starting anything.
 *
 * @param paths Files, folders, or patterns with `*`.
 * @throws {FlowError} `usage.file_missing`
 */
export async function checkFlows(config: Config, paths: readonly string[]): Promise<Checked> {
  const clock = systemClock;
  await using scripts = parts.scriptEngines(config, { clock, log: silentLog });
  const loader = new FlowLoader("files", {
    definitions: await parts.taskDefinitions(config),
    env: wholeEnv((name) => Deno.env.get(name)),
    resources: await parts.resourcesOf(config),
    services: {
      scripts,
      scheduler: new parts.TimerScheduler({ clock }),
      endpoints: parts.endpointApp(config, clock),
    },
  });
  const findings: FlowError[] = [];
  const flows: Flow[] = [];
  let files = 0;
  for (const path of paths) {
    const snapshot = await readFlows(path);
    files += snapshot.files.size;
    for (const { identity, error } of snapshot.problems) {
      if (identity === undefined) findings.push(error); // The others are in what is loaded.
      else files++;
    }
    for (const { flow } of await loader.load(snapshot)) {
      if (flow instanceof FlowErrors) findings.push(...flow.findings);
      else flows.push(flow);
    }
  }
  findings.push(...assignClaims(flows.filter(({ enabled }) => enabled)).values());
  return { files, findings, warnings: flows.flatMap(({ warnings }) => warnings) };
}

/** What is wrong in `sources:`, as far as it can be told without asking their servers. */
export async function checkSources(config: Config): Promise<FlowError[]> {
  const findings: FlowError[] = [];
  const open = parts.remoteOpener(systemClock);
  for (const index of config.sources.keys()) {
    try {
      await openSource(config, index, open, silentLog);
    } catch (cause) {
      findings.push(...findingsOf(cause));
    }
  }
  return findings;
}

/** @throws {FlowError} `usage.file_missing` */
export async function readFlows(path: string): Promise<Snapshot> {
  if (!path.includes("*") && !await Deno.stat(path).catch(() => null)) {
    throw new FlowError("usage.file_missing", `There is no file or folder "${path}"`);
  }
  return (await parts.fileSource(path, systemClock).read(null))!;
}
