/** Orders nodes for a name, the same everywhere, so that a node's end moves only what it had. */

/** A node with its hash, made once. */
export interface Ranked {
  readonly id: string;
  readonly hash: number;
}

export function ranked(id: string): Ranked {
  return { id, hash: hashOf(id) };
}

/** 32 bits of FNV-1a over UTF-16 units, mixed. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return mix(hash);
}

/** Whether `a` comes before `b` for a name of this hash. */
export function isBefore(name: number, a: Ranked, b: Ranked): boolean {
  const [first, second] = [mix(a.hash ^ name), mix(b.hash ^ name)];
  return first > second || (first === second && a.id < b.id);
}

/** The end of MurmurHash3: every bit of the input moves half of the bits. */
function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
