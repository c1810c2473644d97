/** Places in the memory a child shares with its watcher. */
export const WATCH = { busy: 0, batch: 1, index: 2, turn: 3, never: 4, length: 5 } as const;

/** How often the watcher looks, and how long an event may take before it says so. */
const TICK = 20;

/**
 * Source of a worker that runs beside the scripts of a child. While a script keeps the child's own
 * thread busy, nobody else there can say which event it is and what the process has grown to. Lines go
 * to stderr: `<token> at <batch> <index> <ms>` and `<token> rss <bytes>`.
 */
export function watcherSource(token: string, memory: number): string {
  return `
    const { stderr, memoryUsage } = Deno;
    const encoder = new TextEncoder();
    const say = (line) => {
      try {
        stderr.writeSync(encoder.encode("${token} " + line + "\\n"));
      } catch {
        // Nobody listens any more while a script keeps the other thread from noticing. Without any
        // permission, using up this thread's memory is the one way left to end the process.
        const all = [];
        for (;;) all.push(new Array(1e5).fill(all.length));
      }
    };
    onmessage = ({ data }) => {
      const seen = new Int32Array(data);
      let turn = -1, since = 0;
      for (;;) {
        if (Atomics.load(seen, ${WATCH.busy}) === 0) {
          Atomics.wait(seen, ${WATCH.busy}, 0);
          turn = -1;
        }
        Atomics.wait(seen, ${WATCH.never}, 0, ${TICK});
        const { rss } = memoryUsage();
        if (rss > ${memory}) say("rss " + rss);
        const now = performance.now();
        const next = Atomics.load(seen, ${WATCH.turn});
        if (next !== turn) {
          turn = next;
          since = now;
        } else if (Atomics.load(seen, ${WATCH.busy}) === 1) {
          say("at " + Atomics.load(seen, ${WATCH.batch}) + " " + Atomics.load(seen, ${WATCH.index}) +
            " " + Math.round(now - since));
        }
      }
    };
  `;
}
