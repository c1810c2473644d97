import type { LogRecord, Sink } from "@logtape/logtape";

/** Bytes that are kept back at most; a burst of records is written in one go. */
const FULL = 64 * 1024;

/** A sink whose lines wait until the code that logged has gone as far as it could. */
export interface LineSink {
  readonly sink: Sink;
  /** Writes what waits. To be called before the process ends. */
  flush(): void;
}

/**
 * Writes records as lines. A write waits for a slow reader, because a log that loses lines is worth
 * less than one that slows its program down; when the reader has gone, the lines go nowhere.
 */
export function lineSink(
  stream: { writeSync(bytes: Uint8Array): number },
  format: (record: LogRecord) => string,
): LineSink {
  const encoder = new TextEncoder();
  let waiting = "";
  let gone = false;
  const flush = () => {
    if (waiting === "") return;
    let bytes = encoder.encode(waiting);
    waiting = "";
    try {
      while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
    } catch (cause) {
      if (!(cause instanceof Deno.errors.BrokenPipe)) throw cause;
      gone = true;
    }
  };
  return {
    flush,
    sink(record) {
      if (gone) return;
      if (waiting === "") setImmediate(flush);
      waiting += format(record) + "\n";
      if (waiting.length >= FULL) flush();
    },
  };
}
