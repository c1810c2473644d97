import { type Clock, sleep } from "../core/clock.ts";
import type { Key, Store } from "../flow/store.ts";

export interface FollowOptions {
  readonly store: Store;
  /** Whose records are followed; they are one part below. */
  readonly room: Key;
  readonly clock: Clock;
  /** Milliseconds until a broken watch is opened again. */
  readonly retry: number;
  readonly signal: AbortSignal;
  /** A record may be new. Not called again for the same one before it has resolved. Must not reject. */
  one(name: string): Promise<void>;
  /** Any of them may be. */
  all(): void;
}

/** Follows a room until `signal` fires. */
export async function follow(options: FollowOptions): Promise<void> {
  const { store, room, clock, retry, signal, one, all } = options;
  /** Records being looked at, and whether they are to be looked at once more. */
  const looking = new Map<string, boolean>();
  const look = async (name: string) => {
    if (looking.has(name)) return void looking.set(name, true);
    do {
      looking.set(name, false);
      await one(name);
    } while (looking.get(name) && !signal.aborted);
    looking.delete(name);
  };
  while (!signal.aborted) {
    try {
      for await (const key of store.watch(room, signal)) {
        if (key?.length === room.length + 1) look(key.at(-1)!);
        else all();
      }
    } catch {
      // What a store that is away has to say, the reads say too.
    }
    await sleep(clock, retry, signal);
    if (!signal.aborted) all();
  }
}
