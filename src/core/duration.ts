import { FlowError } from "./errors.ts";

const UNITS: Record<string, number> = {
  ms: 1,
  msec: 1,
  millis: 1,
  s: 1_000,
  sec: 1_000,
  secs: 1_000,
  second: 1_000,
  seconds: 1_000,
  m: 60_000,
  min: 60_000,
  mins: 60_000,
  minute: 60_000,
  minutes: 60_000,
  h: 3_600_000,
  hr: 3_600_000,
  hour: 3_600_000,
  hours: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
  days: 86_400_000,
  w: 604_800_000,
  week: 604_800_000,
  weeks: 604_800_000,
};

/**
 * Milliseconds of a duration such as `500ms`, `30s`, `1.5s` or `1h 30m`.
 *
 * @throws {FlowError} `config.duration_invalid`
 */
export function parseDuration(text: string): number {
  let total = 0;
  let end = 0;
  for (const part of text.matchAll(/\s*(\d+(?:\.\d+)?)\s*([a-z]+)/giy)) {
    const unit = UNITS[part[2]!.toLowerCase()];
    if (unit === undefined) throw invalid(text);
    total += Number(part[1]) * unit;
    end = part.index + part[0].length;
  }
  if (end === 0 || text.slice(end).trim() !== "" || !Number.isFinite(total)) throw invalid(text);
  return total;
}

function invalid(text: string): FlowError {
  return new FlowError("config.duration_invalid", `Cannot read a duration from "${text}"`, {
    hint: "write a number and a unit, such as 500ms, 30s, 5m, 1h 30m or 7d",
  });
}

/** A duration as a person would write it: `1h 30m`, `1.5s`, `250ms`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(2))}s`;
  const parts: string[] = [];
  let left = Math.round(ms / 1_000);
  for (const [unit, seconds] of [["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]] as const) {
    const count = Math.floor(left / seconds);
    if (count > 0) parts.push(`${count}${unit}`);
    left -= count * seconds;
  }
  return parts.slice(0, 2).join(" ");
}
