import type { Graph, Node } from "../engine/graph.ts";

/** How a task is drawn, by what it does with time. */
const SHAPES: Record<Node["task"]["definition"]["mode"], readonly [string, string]> = {
  source: ["([", "])"],
  sync: ["[", "]"],
  async: ["[[", "]]"],
  either: ["(", ")"],
  collect: ["[(", ")]"],
};

/**
 * A flow as a Mermaid flowchart: sources are stadiums, tasks that wait have double sides, buffers are
 * cylinders, and dashed arrows are the ways of failed events. See https://mermaid.js.org/syntax/flowchart
 */
export function mermaid({ nodes }: Graph): string {
  const lines = ["flowchart LR"];
  for (const { index, task } of nodes) {
    const [open, close] = SHAPES[task.definition.mode];
    const label = task.name === task.type ? task.name : `${task.name}<br/>${task.type}`;
    lines.push(`  t${index}${open}"${label}"${close}`);
  }
  for (const node of nodes) {
    for (const child of node.children) lines.push(`  t${node.index} --> t${child.index}`);
    for (const handler of node.handlers) {
      lines.push(`  t${node.index} -. error .-> t${handler.index}`);
    }
  }
  return lines.join("\n");
}
