import { Cron } from "croner";
import { FlowError } from "../core/errors.ts";
import type { Schedule } from "../flow/scheduler.ts";

/** Parsed patterns by time zone and text; a flow asks for the same one at every tick. */
const patterns = new Map<string, Cron>();
/** Patterns kept before the oldest goes; reloads bring new ones for as long as the process lives. */
const MOST_PATTERNS = 10_000;

/**
 * The first instant after `after`, both in milliseconds since 1970, or `null` when there is none.
 *
 * Cron expressions have 5 fields, 6 with seconds first, or 7 with the year last, or are an alias such
 * as `@daily`. A local time that a clock change skips is made up for right after the gap; of one that
 * comes twice, the first counts. See https://croner.56k.guru/usage/pattern/
 *
 * @throws {FlowError} `config.cron_invalid`, `config.timezone_invalid`
 */
export function nextInstant(schedule: Schedule, after: number): number | null {
  if ("interval" in schedule) return after + schedule.interval;
  const { cron, timezone } = schedule;
  return parsed(cron, timezone).nextRun(new Date(after))?.getTime() ?? null;
}

function parsed(cron: string, timezone: string): Cron {
  const id = `${timezone} ${cron}`;
  const known = patterns.get(id);
  if (known) return known;
  checkTimezone(timezone);
  const pattern = parse(cron, timezone);
  if (patterns.size === MOST_PATTERNS) patterns.delete(patterns.keys().next().value!);
  patterns.set(id, pattern);
  return pattern;
}

function parse(cron: string, timezone: string): Cron {
  // croner would also read a date, which fires once and is no schedule.
  if (/^\s*\d{4}-/.test(cron)) throw invalid(cron, "a date is no schedule");
  try {
    return new Cron(cron, { timezone, paused: true });
  } catch (cause) {
    const why = cause instanceof Error
      ? cause.message.replace(/^CronPattern: /, "")
      : String(cause);
    throw invalid(cron, why.replace(/\.$/, ""), cause);
  }
}

function invalid(cron: string, why: string, cause?: unknown): FlowError {
  return new FlowError("config.cron_invalid", `Cannot read the schedule "${cron}": ${why}`, {
    hint: 'write minute, hour, day, month and weekday such as "30 6 * * MON-FRI", ' +
      "optionally with seconds in front and then a year at the end, or @hourly, @daily, @weekly",
    cause,
  });
}

function checkTimezone(timezone: string): void {
  try {
    new Intl.DateTimeFormat("en", { timeZone: timezone });
  } catch (cause) {
    throw new FlowError("config.timezone_invalid", `Unknown time zone "${timezone}"`, {
      hint: "use a name of the IANA database such as UTC, Europe/Berlin or America/New_York",
      cause,
    });
  }
}
