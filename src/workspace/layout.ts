import { FlowError } from "../core/errors.ts";
import { identityOfPath, type SnapshotFile, type SnapshotProblem } from "../flow/source.ts";
import type { FlowSnapshot } from "../reconcile/load_flows.ts";

const FLOWS = "flows/";
const RESOURCES = "resources/";
const FLOW_FILE = /\.(?:ya?ml|json)$/;

/** The files of a version as they were published, and what was wrong where they came from. */
export interface Content {
  readonly version: string;
  /** By path. */
  readonly files: ReadonlyMap<string, SnapshotFile>;
  readonly problems: readonly SnapshotProblem[];
}

/**
 * Tells flows from resources. Where there is a folder `flows/`, the YAML and JSON files below it are
 * the flows; else all of them outside `resources/`. What a flow refers to is looked for below
 * `resources/`, then beside the flows. Names that start with `.` are left out.
 *
 * @param prefix In front of all identities, `team-a` or `team/a`; "" for none.
 */
export function layOut({ version, files, problems }: Content, prefix: string): FlowSnapshot {
  const paths = [...files.keys()].filter((path) => !isHidden(path)).sort();
  const root = paths.some((path) => path.startsWith(FLOWS)) ? FLOWS : "";
  const isFlow = (path: string) =>
    path.startsWith(root) && !path.startsWith(RESOURCES) && FLOW_FILE.test(path);
  const named = (path: string) =>
    prefix === "" ? path.slice(root.length) : `${prefix}/${path.slice(root.length)}`;

  const flows = new Map<string, SnapshotFile>();
  const resources = new Map<string, SnapshotFile>();
  for (const path of paths) {
    const file = files.get(path)!;
    if (isFlow(path)) flows.set(named(path), { ...file, path: named(path) });
    if (path.startsWith(root)) resources.set(path.slice(root.length), file);
  }
  for (const path of paths) {
    if (path.startsWith(RESOURCES)) resources.set(path.slice(RESOURCES.length), files.get(path)!);
  }
  const told = problems.map(({ identity, error }): SnapshotProblem =>
    identity !== undefined && isFlow(`${identity}.yaml`) && !isHidden(identity)
      ? { identity: named(identity), error }
      : { error }
  );
  return { version, resources, ...withoutTwins(flows, told) };
}

function isHidden(path: string): boolean {
  return path.startsWith(".") || path.includes("/.");
}

/** Two files of one identity: neither may run, for nobody could say which one is meant. */
function withoutTwins(
  flows: ReadonlyMap<string, SnapshotFile>,
  problems: readonly SnapshotProblem[],
): Pick<FlowSnapshot, "files" | "problems"> {
  const files = new Map(flows);
  const found = [...problems];
  for (const [identity, twins] of Map.groupBy(flows.keys(), identityOfPath)) {
    if (twins.length === 1) continue;
    const names = twins.map((path) => flows.get(path)!.file);
    for (const [index, path] of twins.entries()) {
      files.delete(path);
      const others = names.filter((_, other) => other !== index).join(", ");
      const message = `The flow "${identity}" is also defined by ${others}`;
      const error = new FlowError("flow.duplicate_identity", message, {
        hint: "rename one of the files; the extension does not count",
        position: { file: names[index]!, line: 1, column: 1 },
      });
      found.push({ identity, error });
    }
  }
  return { files, problems: found };
}

/** A file of a workspace as people are shown it: `demo:flows/orders.yaml`. */
export function shownFile(name: string, path: string): string {
  return `${name}:${path}`;
}
