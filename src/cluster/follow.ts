import { type Clock, sleep } from "../core/clock.ts";
import type { Key, Store } from "../flow/store.ts";
import { Again } from "./again.ts";

export interface FollowOptions {
  readonly store: Store;
  /** Whose records are followed; they are one part below. */
  readonly room: Key;
  readonly clock: Clock;
  /** Milliseconds until a broken watch is opened again. */
  readonly retry: number;
  readonly signal: AbortSignal;
  /** A record may be new. Called for each one thing at a time; must not reject. */
  one(name: string): Promise<void>;
  /** Any of them may be. */
  all(): void;
}

/** Follows a room until `signal` fires. */
export async function follow(options: FollowOptions): Promise<void> {
  const { store, room, clock, retry, signal, one, all } = options;
  const looks = new Again();
  while (!signal.aborted) {
    try {
      for await (const key of store.watch(room, signal)) {
        if (key?.length === room.length + 1) {
          const name = key.at(-1)!;
          looks.run(name, () => one(name));
        } else all();
      }
    } catch {
      // What a store that is away has to say, the reads say too.
    }
    await sleep(clock, retry, signal);
    if (!signal.aborted) all();
  }
}
