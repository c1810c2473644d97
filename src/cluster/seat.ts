import type { Revision } from "../flow/store.ts";
import type { ClaimRecord, Seen } from "./record.ts";

/** A flow as one node sees it. */
export interface Seat {
  readonly flow: string;
  standing: boolean;
  /** `ending`: drained or lost, and not settled yet. */
  phase: "idle" | "running" | "ending";
  /** Of the present or last term. */
  epoch: number;
  /** When the present term began. */
  since: number;
  claim: Seen<ClaimRecord> | null;
  /** The highest epoch ever seen. */
  floor: number;
  writing: ClaimRecord | undefined;
  reading: boolean;
  /** Something else was seen while a write was under way. */
  missed: boolean;
  /** What is known is doubtful until it was read again: a write failed, or nobody knows how it ended. */
  doubtful: boolean;
  /** The revision that a write failed on. */
  stale: Revision | null | undefined;
  freeSince: number | undefined;
}

export function newSeat(flow: string): Seat {
  return {
    flow,
    standing: false,
    phase: "idle",
    epoch: 0,
    since: 0,
    claim: null,
    floor: 0,
    writing: undefined,
    reading: false,
    missed: false,
    doubtful: false,
    stale: undefined,
    freeSince: undefined,
  };
}
