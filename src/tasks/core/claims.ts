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

/** Whether the holder of a claim can no longer be at work on it; `atWork`: what this process knows. */
export async function holderIsGone(
  cluster: Cluster,
  holder: string | null,
  atWork: boolean,
): Promise<boolean> {
  if (holder === null) return true;
  return holder === cluster.nodeId ? !atWork : await cluster.isGone(holder);
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
