import * as v from "valibot";
import type { ClaimView } from "../flow/cluster.ts";
import type { Key, Revision } from "../flow/store.ts";

/** Where nodes keep their records: `["cluster", "nodes", <id>]`. */
export const NODES: Key = ["cluster", "nodes"];

/** Where claims are kept: `["cluster", "flows", <flow>]`. */
export const CLAIMS: Key = ["cluster", "flows"];

/** A node's record. Only the node itself writes `live`; the other two are final. */
export const NodeRecord = v.object({
  state: v.picklist(["live", "left", "gone"]),
  /** Grows with every renewal, so that a node knows its own writes again when it reads one. */
  beat: v.number(),
  started: v.string(),
  version: v.string(),
  host: v.string(),
});
export type NodeRecord = v.InferOutput<typeof NodeRecord>;

/** Who owns an elected flow. Changed by compare-and-set only, never deleted. */
export const ClaimRecord = v.object({
  /** `null`: free. */
  node: v.nullable(v.string()),
  /** Grows with every owner. */
  epoch: v.number(),
  /** The node it is being handed to. */
  next: v.optional(v.string()),
  /** The node that gave it up and stands last in line. */
  from: v.optional(v.string()),
  /** How often it was taken from a node that had gone, since an owner last stayed for a while. */
  takeovers: v.optional(v.number()),
});
export type ClaimRecord = v.InferOutput<typeof ClaimRecord>;

/** A record as it was read. */
export interface Seen<R> {
  readonly record: R;
  readonly revision: Revision;
}

/**
 * How a write by compare-and-set ended: the new revision, `null` when someone was faster, `undefined`
 * when nobody knows (it may even be carried out later).
 */
export type Written = Revision | null | undefined;

/** What a read found: `null` for nothing, `undefined` when it failed. */
export type Read<R> = Seen<R> | null | undefined;

export function viewOf(flow: string, { node, epoch, next }: ClaimRecord): ClaimView {
  return { flow, owner: node, epoch, next: next ?? null };
}
