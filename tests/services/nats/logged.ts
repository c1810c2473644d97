import { configure, type LogLevel, type LogRecord, reset } from "@logtape/logtape";

export interface Logged {
  readonly level: string;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

/** What is logged while `run` runs, from a level up. */
export async function logged(
  run: () => Promise<unknown>,
  lowestLevel: LogLevel = "warning",
): Promise<Logged[]> {
  const records: Logged[] = [];
  await configure({
    sinks: {
      list: ({ level, message, properties }: LogRecord) =>
        void records.push({ level, message: message.join(""), fields: { ...properties } }),
    },
    loggers: [
      { category: ["flowgen"], sinks: ["list"], lowestLevel },
      { category: ["logtape", "meta"], lowestLevel: "error" },
    ],
  });
  try {
    await run();
  } finally {
    await reset();
  }
  return records;
}
