import { FlowError, FlowErrors } from "../core/errors.ts";
import { formatDuration } from "../core/duration.ts";
import type { Flow, TaskEntry } from "../flow/flow.ts";

/** How long a request waits when its source does not say. Milliseconds. */
export const REQUEST_TIMEOUT = 30_000;

/** A task in its place. Edges point to later tasks only, so the list order is a topological one. */
export interface Node {
  readonly index: number;
  readonly task: TaskEntry;
  /** Where its events go. Empty for a leaf. */
  readonly children: Node[];
  /** Where events go that it failed on. */
  readonly handlers: Node[];
  /** Whether it has a way in, from a success or an error edge. */
  fed: boolean;
}

export interface Graph {
  readonly nodes: readonly Node[];
  readonly sources: readonly Node[];
}

/**
 * Links the tasks of a flow.
 *
 * @throws {FlowErrors} everything wrong with the graph, each finding at its line.
 */
export function buildGraph(flow: Flow): Graph {
  const findings: FlowError[] = [];
  const nodes: Node[] = flow.tasks.map((task, index) => ({
    index,
    task,
    children: [],
    handlers: [],
    fed: false,
  }));
  const byName = new Map(nodes.map((node) => [node.task.name, node]));
  for (const node of nodes) {
    if (isSource(node)) checkSource(node, findings);
    else link(node, nodes, byName, findings);
  }
  if (findings.length === 0) linkCatchAlls(nodes, findings);
  if (findings.length === 0) checkBuffers(nodes, findings);
  if (findings.length > 0) throw new FlowErrors(findings);
  return { nodes, sources: nodes.filter(isSource) };
}

export function isSource(node: Node): boolean {
  return node.task.definition.mode === "source";
}

/** Whether a failure can start here: sources fail no events unless they say so. */
function canFail({ task: { definition } }: Node): boolean {
  return definition.mode !== "source" || definition.fails === true;
}

export function isRequestSource(node: Node): boolean {
  const { definition } = node.task;
  return definition.mode === "source" && definition.request === true;
}

/** Milliseconds a delivery of this source may take; `undefined` without end. */
export function ackTimeoutOf(node: Node): number | undefined {
  return node.task.ackTimeout ?? (isRequestSource(node) ? REQUEST_TIMEOUT : undefined);
}

function checkSource(node: Node, findings: FlowError[]): void {
  const { task } = node;
  if (task.when !== "success") {
    findings.push(
      new FlowError("flow.source_with_when", `Source "${task.name}" cannot take events`, {
        hint: "remove when",
        position: task.locate(["when"]),
      }),
    );
  }
  if (task.dependsOn === undefined ? node.index > 0 : task.dependsOn.length > 0) {
    findings.push(
      new FlowError(
        "flow.source_in_middle",
        `Task "${task.name}" is a source (${task.type}) and cannot take events from another task`,
        {
          hint: "put it first, or give it depends_on: [] to make it a second source of the flow",
          position: task.locate(task.dependsOn ? ["depends_on"] : []),
        },
      ),
    );
  }
}

function link(
  node: Node,
  nodes: readonly Node[],
  byName: ReadonlyMap<string, Node>,
  findings: FlowError[],
): void {
  const { task } = node;
  const { dependsOn } = task;
  if (dependsOn === undefined && task.when === "error") return; // see linkCatchAlls
  const parents = dependsOn === undefined
    ? defaultParent(node, nodes)
    : namedParents(node, byName, dependsOn, findings);
  if (parents === null) return;
  if (parents.length === 0) {
    findings.push(
      new FlowError(
        "flow.no_source",
        `Task "${task.name}" (${task.type}) has no task to take events from`,
        {
          hint: node.index === 0
            ? "start the flow with a source such as generate or http_endpoint"
            : "name the tasks it takes events from in depends_on",
          position: task.locate(dependsOn ? ["depends_on"] : []),
        },
      ),
    );
  }
  for (const parent of parents) {
    node.fed = true;
    if (task.when !== "error") parent.children.push(node);
    if (task.when === "success") continue;
    if (canFail(parent)) parent.handlers.push(node);
    else if (task.when === "error") findings.push(handlesSource(node, parent));
  }
}

function defaultParent(node: Node, nodes: readonly Node[]): Node[] {
  const parent = nodes.slice(0, node.index).findLast((one) => one.task.when !== "error");
  return parent ? [parent] : [];
}

/** `null` where a name was wrong; the finding says so. */
function namedParents(
  node: Node,
  byName: ReadonlyMap<string, Node>,
  names: readonly string[],
  findings: FlowError[],
): Node[] | null {
  const { task } = node;
  const parents: Node[] = [];
  let sound = true;
  names.forEach((name, at) => {
    const position = task.locate(["depends_on", at]);
    const parent = byName.get(name);
    const wrong = (code: string, message: string, hint: string) => {
      sound = false;
      findings.push(new FlowError(code, message, { hint, position }));
    };
    if (!parent) {
      wrong(
        "flow.depends_on_unknown",
        `Task "${task.name}" depends on "${name}", which the flow does not have`,
        `known tasks: ${[...byName.keys()].map((one) => `"${one}"`).join(", ")}`,
      );
    } else if (parents.includes(parent)) {
      wrong(
        "flow.depends_on_twice",
        `Task "${task.name}" depends on "${name}" twice`,
        "name each task once",
      );
    } else if (parent.index >= node.index) {
      const circle = findCircle(node, parent, byName);
      if (circle) {
        wrong(
          "flow.cycle",
          `Tasks depend on each other in a circle: ${circle.join(" → ")}`,
          "a task can only take events from tasks before it",
        );
      } else {
        wrong(
          "flow.depends_on_later",
          `Task "${task.name}" depends on "${name}", which comes later in the file`,
          `move "${name}" before "${task.name}"`,
        );
      }
    } else parents.push(parent);
  });
  return sound ? parents : null;
}

/** The names from `node` over `parent` back to `node`, where following `depends_on` leads there. */
function findCircle(
  node: Node,
  parent: Node,
  byName: ReadonlyMap<string, Node>,
): string[] | undefined {
  const seen = new Set<Node>();
  const walk = (one: Node, path: string[]): string[] | undefined => {
    if (one === node) return [...path, one.task.name];
    if (seen.has(one)) return undefined;
    seen.add(one);
    for (const name of one.task.dependsOn ?? []) {
      const next = byName.get(name);
      const found = next && walk(next, [...path, one.task.name]);
      if (found) return found;
    }
    return undefined;
  };
  return walk(parent, [node.task.name]);
}

/** An error task without `depends_on` serves every earlier task that has no handler of its own. */
function linkCatchAlls(nodes: readonly Node[], findings: FlowError[]): void {
  for (const node of nodes) {
    if (node.task.when !== "error" || node.task.dependsOn !== undefined) continue;
    for (const earlier of nodes.slice(0, node.index)) {
      if (!canFail(earlier) || earlier.handlers.length > 0) continue;
      earlier.handlers.push(node);
      node.fed = true;
    }
    if (!node.fed) {
      findings.push(
        new FlowError(
          "flow.handler_unused",
          `No task before "${node.task.name}" can fail into it`,
          {
            hint: "put it after the tasks it serves, or name them in depends_on",
            position: node.task.locate([]),
          },
        ),
      );
    }
  }
}

function handlesSource(node: Node, parent: Node): FlowError {
  return new FlowError(
    "flow.handler_of_source",
    `Task "${node.task.name}" waits for failures of "${parent.task.name}", but a source fails no events`,
    {
      hint: "leave depends_on out to serve every earlier task",
      position: node.task.locate(["depends_on"]),
    },
  );
}

/** A request would always time out in a buffer that may keep it longer than the request waits. */
function checkBuffers(nodes: readonly Node[], findings: FlowError[]): void {
  for (const source of nodes.filter(isRequestSource)) {
    const timeout = ackTimeoutOf(source)!;
    for (const node of reachable(source)) {
      const { task } = node;
      if (task.definition.mode !== "collect") continue;
      const holds = task.definition.holds?.(task.config);
      if (holds !== undefined && holds < timeout) continue;
      findings.push(
        new FlowError(
          "flow.buffer_outlives_request",
          `Task "${task.name}" may keep an event for ${
            holds === undefined ? "ever" : formatDuration(holds)
          }, but requests of "${source.task.name}" end after ${formatDuration(timeout)}`,
          {
            hint:
              `give "${task.name}" a timeout shorter than the ack_timeout of "${source.task.name}"`,
            position: task.locate([]),
          },
        ),
      );
    }
  }
}

/** All nodes an event of `from` can come to, `from` first; over error edges too unless told. */
export function reachable(from: Node, errors = true): Set<Node> {
  const seen = new Set([from]);
  for (const node of seen) {
    for (const next of node.children) seen.add(next);
    if (errors) { for (const next of node.handlers) seen.add(next); }
  }
  return seen;
}

/** The node whose events answer a request, and all nodes that lead to it. */
export function replyPath(source: Node): { leaf: Node; ancestors: ReadonlySet<Node> } {
  const within = reachable(source, false);
  const leaf = [...within].filter((node) => node.children.length === 0)
    .reduce((last, node) => node.index > last.index ? node : last);
  const ancestors = new Set<Node>();
  for (const node of within) {
    if (node !== leaf && reachable(node, false).has(leaf)) ancestors.add(node);
  }
  return { leaf, ancestors };
}
