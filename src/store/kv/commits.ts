/** A group's limits, within Deno KV's 1,000 mutations and 800 KiB, of which keys 80 KiB. */
const MOST_WRITES = 500;
const MOST_BYTES = 700 * 1024;
const MOST_KEY_BYTES = 78 * 1024;

/** One record for Deno KV. */
export interface Write {
  readonly key: Deno.KvKey;
  /** Tells keys apart. */
  readonly text: string;
  readonly value: Uint8Array;
  /** Milliseconds until Deno KV may remove it. */
  readonly expireIn: number | undefined;
}

interface Waiting {
  readonly write: Write;
  resolve(versionstamp: string): void;
  reject(cause: unknown): void;
}

/**
 * Commits writes that check nothing in groups: what is asked for in one turn, or while the commit
 * before is under way, goes to disk together.
 */
export class Commits {
  #waiting: Waiting[] = [];
  #draining = false;

  constructor(readonly atomic: () => Deno.AtomicOperation) {}

  /** Gives the versionstamp; a write of the same key is never in the same group. */
  set(write: Write): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ write, resolve, reject });
      if (this.#draining) return;
      this.#draining = true;
      queueMicrotask(() => this.#drain());
    });
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, groupSize(this.#waiting));
      try {
        const commit = this.atomic();
        for (const { write } of group) {
          commit.set(write.key, write.value, { expireIn: write.expireIn });
        }
        const done = await commit.commit();
        if (!done.ok) throw new Error("A commit without checks was refused");
        for (const { resolve } of group) resolve(done.versionstamp);
      } catch (cause) {
        for (const { reject } of group) reject(cause);
      }
    }
    this.#draining = false;
  }
}

/** How many of the writes fit into one commit: at least one. */
function groupSize(waiting: readonly Waiting[]): number {
  // Two writes of one key need two versionstamps: with one, the loser's revision would stay current.
  const seen = new Set<string>();
  let bytes = 0;
  let keyBytes = 0;
  for (const { write } of waiting) {
    bytes += write.value.length;
    keyBytes += largestKeySize(write.key);
    const full = seen.size === MOST_WRITES || bytes > MOST_BYTES || keyBytes > MOST_KEY_BYTES;
    if (seen.size > 0 && (full || seen.has(write.text))) break;
    seen.add(write.text);
  }
  return seen.size;
}

/** Bytes that Deno KV needs at most for a key: four per code unit and two per part. */
function largestKeySize(key: Deno.KvKey): number {
  return key.reduce<number>((sum, part) => sum + 2 + 4 * (part as string).length, 0);
}
