const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM"];

/**
 * Calls `first` when somebody asks the process to stop, and `second` when they ask again. Resolves to
 * what `first` came to.
 */
export function onStopSignal<T>(
  { first, second }: { first: (signal: string) => Promise<T>; second: () => void },
): Promise<T> {
  return new Promise((resolve, reject) => {
    let asked = false;
    for (const signal of SIGNALS) {
      Deno.addSignalListener(signal, () => {
        if (asked) return second();
        asked = true;
        first(signal).then(resolve, reject);
      });
    }
  });
}
