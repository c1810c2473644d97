import type { Store } from "../../flow/store.ts";

/**
 * Claims this process is working on, by any text that names them. A record in the store that says
 * "this node is at it" is believed only while its name stands here; otherwise a run of this process
 * left it behind. Kept per store, so that the old and the new generation of a flow see each other.
 */
const working = new WeakMap<Store, Map<string, Promise<unknown>>>();

export function claimsOf(store: Store): Map<string, Promise<unknown>> {
  let claims = working.get(store);
  if (!claims) working.set(store, claims = new Map());
  return claims;
}

/**
 * Whether the holder of a claim can no longer be at work on it.
 *
 * A runtime that is alone with its store is the only one alive, so every id but its own is that of an
 * earlier process. Membership of a cluster joins here, and nowhere else in the tasks.
 */
export function holderIsGone(
  holder: string | null,
  here: { readonly nodeId: string; readonly atWork: boolean },
): boolean {
  return holder !== here.nodeId || !here.atWork;
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
