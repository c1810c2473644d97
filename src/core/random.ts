/** Chance as the code sees it. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
}

export const systemRandom: Random = { next: () => Math.random() };

/** A generator for tests that repeats itself for one seed (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    },
  };
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * UUIDs of version 7 (RFC 9562): 48 bits of milliseconds, a 12-bit counter that keeps the ids of one
 * millisecond in order, 62 random bits. One maker belongs to one process.
 */
export function uuid7Maker(random: Random): (now: number) => string {
  let last = -1;
  let counter = 0;
  let prefix = "";
  return (now) => {
    // A clock that steps back, or a full counter, must not break the order.
    if (now > last) {
      last = now;
      counter = (random.next() * 0x400) | 0;
      prefix = timePrefix(last);
    } else if (++counter > 0xfff) {
      last++;
      counter = 0;
      prefix = timePrefix(last);
    }
    const a = random.next() * 4294967296;
    const b = random.next() * 4294967296;
    return prefix + HEX[0x70 | (counter >> 8)] + HEX[counter & 0xff] + "-" +
      HEX[0x80 | ((a >>> 24) & 0x3f)] + HEX[(a >>> 16) & 0xff] + "-" +
      HEX[(a >>> 8) & 0xff] + HEX[a & 0xff] +
      HEX[b >>> 24] + HEX[(b >>> 16) & 0xff] + HEX[(b >>> 8) & 0xff] + HEX[b & 0xff];
  };
}

function timePrefix(ms: number): string {
  const hex = ms.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-`;
}
