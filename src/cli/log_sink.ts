import type { LogRecord, Sink } from "@logtape/logtape";

/** Bytes that are kept back at most; a burst of records is written in one go. */
const FULL = 64 * 1024;
const NEWLINE = 0x0a;

/** A sink whose lines wait until the code that logged has gone as far as it could. */
export interface LineSink {
  readonly sink: Sink;
  /** Writes what waits. To be called before the process ends. */
  flush(): void;
}

/**
 * Writes records as lines. A write waits for a slow reader, because a log that loses lines is worth
 * less than one that slows its program down. It never throws: when the reader has gone, the lines go
 * nowhere; when a write fails, as on a full disk, its lines are lost, and the next that succeeds says
 * how many.
 */
export function lineSink(
  stream: { writeSync(bytes: Uint8Array): number },
  format: (record: LogRecord) => string,
): LineSink {
  const encoder = new TextEncoder();
  let waiting = "";
  let count = 0;
  let gone = false;
  let lost = 0;
  /** Whether the last write ended inside a line. */
  let torn = false;

  const flush = () => {
    if (waiting === "") return;
    let bytes = encoder.encode(waiting);
    const lines = count;
    waiting = "";
    count = 0;
    try {
      while (bytes.length > 0) {
        const size = stream.writeSync(bytes);
        if (size > 0) torn = bytes[size - 1] !== NEWLINE;
        bytes = bytes.subarray(size);
      }
      lost = 0;
    } catch (cause) {
      gone = cause instanceof Deno.errors.BrokenPipe;
      const left = bytes.filter((byte) => byte === NEWLINE).length;
      // More are left than were logged: nor was it said that others had been lost.
      lost = left > lines ? lost + lines : left;
    }
  };
  return {
    flush,
    sink(record) {
      if (gone) return;
      if (waiting === "") {
        setImmediate(flush);
        if (torn) waiting = "\n";
        if (lost > 0) waiting += `${format(lostLines(lost, record.timestamp))}\n`;
      }
      waiting += `${format(record)}\n`;
      count++;
      if (waiting.length >= FULL) flush();
    },
  };
}

function lostLines(lines: number, timestamp: number): LogRecord {
  const message = "Lines of the log were lost: they could not be written";
  return {
    category: ["flowgen", "cli"],
    level: "warning",
    message: [message],
    rawMessage: message,
    timestamp,
    properties: { lines },
  };
}
