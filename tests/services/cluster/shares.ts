import type { ClusterView } from "../../../src/flow/cluster.ts";

/** How many elected flows each node owns, by their claims; a node with none counts too. */
export function shares({ nodes, flows }: ClusterView): number[] {
  return nodes.map(({ id }) => flows.filter(({ owner }) => owner === id).length);
}
