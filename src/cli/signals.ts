import type { Clock } from "../core/clock.ts";

const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM"];

/**
 * A terminal sends Ctrl-C to every process of its foreground group, and `deno task` hands the one it got
 * on to its child: one key, two signals. A person who means it twice takes longer. Milliseconds.
 */
const ECHO = 300;

/**
 * Calls `first` when somebody asks the process to stop, and `second` when they ask again. Resolves to
 * what `first` came to.
 */
export function onStopSignal<T>(
  { clock, first, second }: {
    clock: Clock;
    first: (signal: string) => Promise<T>;
    second: () => void;
  },
): Promise<T> {
  return new Promise((resolve, reject) => {
    let asked: { signal: string; at: number } | undefined;
    for (const signal of SIGNALS) {
      Deno.addSignalListener(signal, () => {
        const at = clock.monotonic();
        if (!asked) {
          asked = { signal, at };
          first(signal).then(resolve, reject);
        } else if (signal !== asked.signal || at - asked.at > ECHO) second();
      });
    }
  });
}
