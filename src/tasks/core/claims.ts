import type { Cluster } from "../../flow/cluster.ts";

/**
 * Claims this process is working on, by any text that names them. A record in the store that says
 * "this node is at it" is believed only while its name stands here; otherwise a run of this process
 * left it behind. Kept per node, so that the old and the new generation of a flow see each other.
 */
const working = new WeakMap<Cluster, Map<string, Promise<unknown>>>();

export function claimsOf(cluster: Cluster): Map<string, Promise<unknown>> {
  let claims = working.get(cluster);
  if (!claims) working.set(cluster, claims = new Map());
  return claims;
}

/**
 * Whether the holder of a claim can no longer be at work on it.
 *
 * @param atWork What this process knows of its own work.
 * @param isAlone No other node works on what the claim is for, whoever lives: this one owns the flow.
 */
export async function holderIsGone(
  cluster: Cluster,
  holder: string | null,
  atWork: boolean,
  isAlone: boolean,
): Promise<boolean> {
  if (holder === null) return true;
  if (holder === cluster.nodeId) return !atWork;
  return isAlone || await cluster.isGone(holder);
}

/** Waits until the promise settles or the signal fires, whichever is first; never rejects. */
export function settledOr(signal: AbortSignal, promise: Promise<unknown>): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener("abort", done);
      resolve();
    };
    signal.addEventListener("abort", done, { once: true });
    promise.then(done, done);
  });
}
