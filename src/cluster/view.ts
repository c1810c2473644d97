import { type ClusterView, viewOfClaims } from "../flow/cluster.ts";
import { type ClaimRecord, type NodeRecord, viewOf } from "./record.ts";

interface KnownNode {
  readonly id: string;
  readonly record: NodeRecord;
}

/** Nodes and claims as one node sees them now. */
export function clusterView({ member, self, peers, claims }: {
  readonly member: boolean;
  readonly self: KnownNode;
  readonly peers: Iterable<KnownNode>;
  readonly claims: Iterable<{ readonly flow: string; readonly record: ClaimRecord }>;
}): ClusterView {
  const { flows, sources } = viewOfClaims(
    [...claims].map(({ flow, record }) => viewOf(flow, record)),
  );
  const owned = Map.groupBy(flows, ({ owner }) => owner);
  const nodes = [self, ...peers].map(({ id, record: { started, version, host } }) => {
    return { id, started, version, host, self: id === self.id, flows: owned.get(id)?.length ?? 0 };
  });
  return { member, nodes, flows, sources };
}
