import assert from "node:assert/strict";
import fc from "fast-check";
import { nextInstant } from "./next.ts";

/** The next `count` instants of a cron expression as RFC 3339 in UTC, without milliseconds. */
function runs(cron: string, timezone: string, after: string, count: number): (string | null)[] {
  const found: (string | null)[] = [];
  for (let time: number | null = Date.parse(after); found.length < count;) {
    time = nextInstant({ cron, timezone }, time);
    found.push(time === null ? null : new Date(time).toISOString().replace(".000Z", "Z"));
    if (time === null) break;
  }
  return found;
}

Deno.test("an interval is due one interval later, also below a second", () => {
  assert.equal(nextInstant({ interval: 250 }, 1_000), 1_250);
  assert.equal(nextInstant({ interval: 86_400_000 }, 5), 86_400_005);
});

Deno.test("a cron expression is due strictly after the given instant", () => {
  const cron = (expression: string, after: string) => runs(expression, "UTC", after, 1)[0];
  assert.equal(cron("30 6 * * *", "2030-01-01T06:29:59.999Z"), "2030-01-01T06:30:00Z");
  assert.equal(cron("30 6 * * *", "2030-01-01T06:30:00.000Z"), "2030-01-02T06:30:00Z");
  assert.equal(cron("30 6 * * *", "2030-01-01T06:30:00.001Z"), "2030-01-02T06:30:00Z");
  assert.equal(cron("* * * * * *", "2030-01-01T00:00:00.500Z"), "2030-01-01T00:00:01Z");
});

Deno.test("cron expressions have 5 fields, 6 with seconds, 7 with a year, or an alias", () => {
  const first = (cron: string) => runs(cron, "UTC", "2030-01-01T00:00:00Z", 1)[0];
  assert.equal(first("15 * * * *"), "2030-01-01T00:15:00Z");
  assert.equal(first("15 * * * * *"), "2030-01-01T00:00:15Z");
  assert.equal(first("0 0 12 1 JAN * 2035"), "2035-01-01T12:00:00Z");
  assert.equal(first("@hourly"), "2030-01-01T01:00:00Z");
  assert.equal(first("@daily"), "2030-01-02T00:00:00Z");
  assert.equal(first("@weekly"), "2030-01-06T00:00:00Z");
  assert.equal(first("@monthly"), "2030-02-01T00:00:00Z");
  assert.equal(first("@yearly"), "2031-01-01T00:00:00Z");
});

Deno.test("an expression with a year ends after it, one without a match has no instant", () => {
  const once = runs("0 0 0 1 1 * 2035", "UTC", "2030-01-01T00:00:00Z", 5);
  assert.deepEqual(once, ["2035-01-01T00:00:00Z", null]);
  assert.deepEqual(runs("0 0 30 2 *", "UTC", "2030-01-01T00:00:00Z", 1), [null]);
});

Deno.test("days count as L, W and #, and Sunday is 0, 7 and SUN", () => {
  const first = (cron: string) => runs(cron, "UTC", "2030-06-01T00:00:00Z", 1)[0]?.slice(0, 10);
  assert.equal(first("0 1 L * *"), "2030-06-30");
  assert.equal(first("0 1 1W * *"), "2030-06-03"); // the 1st is a Saturday
  assert.equal(first("0 1 * * FRI#2"), "2030-06-14");
  assert.equal(first("0 1 * * FRIL"), "2030-06-28");
  for (const sunday of ["0", "7", "SUN"]) assert.equal(first(`0 1 * * ${sunday}`), "2030-06-02");
});

Deno.test("February 29 comes in leap years only", () => {
  assert.deepEqual(runs("0 0 29 2 *", "UTC", "2030-01-01T00:00:00Z", 2), [
    "2032-02-29T00:00:00Z",
    "2036-02-29T00:00:00Z",
  ]);
  assert.equal(runs("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1)[0], "2104-02-29T00:00:00Z");
});

Deno.test("in Europe/Berlin noon is noon on both sides of a clock change", () => {
  assert.deepEqual(runs("0 12 * * *", "Europe/Berlin", "2030-03-30T00:00:00Z", 2), [
    "2030-03-30T11:00:00Z",
    "2030-03-31T10:00:00Z",
  ]);
  assert.deepEqual(runs("0 12 * * *", "Europe/Berlin", "2030-10-26T00:00:00Z", 2), [
    "2030-10-26T10:00:00Z",
    "2030-10-27T11:00:00Z",
  ]);
});

Deno.test("a time that the clock change skips is made up for right after the gap", () => {
  // 2:30 does not exist on March 31; the gap ends at 3:00, which is 1:00 UTC.
  assert.deepEqual(runs("30 2 * * *", "Europe/Berlin", "2030-03-30T12:00:00Z", 2), [
    "2030-03-31T01:00:00Z",
    "2030-04-01T00:30:00Z",
  ]);
});

Deno.test("a time that comes twice is due once, while every half hour goes on", () => {
  assert.deepEqual(runs("30 2 * * *", "Europe/Berlin", "2030-10-26T12:00:00Z", 2), [
    "2030-10-27T00:30:00Z",
    "2030-10-28T01:30:00Z",
  ]);
  assert.deepEqual(runs("*/30 * * * *", "Europe/Berlin", "2030-10-26T23:45:00Z", 6), [
    "2030-10-27T00:00:00Z",
    "2030-10-27T00:30:00Z",
    "2030-10-27T01:00:00Z",
    "2030-10-27T01:30:00Z",
    "2030-10-27T02:00:00Z",
    "2030-10-27T02:30:00Z",
  ]);
});

Deno.test("a schedule always moves on, in every zone and from every instant", () => {
  const field = (low: number, high: number) =>
    fc.oneof(
      fc.constant("*"),
      fc.integer({ min: low, max: high }).map(String),
      fc.integer({ min: 1, max: high }).map((step) => `*/${step}`),
    );
  const patterns = fc.tuple(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6));
  const zones = fc.constantFrom(
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Australia/Lord_Howe",
  );
  const from = Date.parse("2020-01-01T00:00:00Z");
  const instants = fc.integer({ min: from, max: from + 20 * 365 * 86_400_000 });
  fc.assert(
    fc.property(patterns, zones, instants, (fields, timezone, start) => {
      const cron = fields.join(" ");
      for (let i = 0, after = start; i < 5; i++) {
        const time = nextInstant({ cron, timezone }, after)!;
        assert.ok(time > after, `${time} is not after ${after}`);
        assert.equal(time % 60_000, 0);
        // Nothing in between was passed over.
        assert.equal(nextInstant({ cron, timezone }, time - 1), time);
        after = time;
      }
    }),
    { numRuns: 100, seed: 1 },
  );
});

Deno.test("an expression that cannot be read is named, with what is wrong", () => {
  assert.throws(() => nextInstant({ cron: "61 * * * *", timezone: "UTC" }, 0), {
    code: "config.cron_invalid",
    message: 'Cannot read the schedule "61 * * * *": Invalid value for minute: 61',
    hint: 'write minute, hour, day, month and weekday such as "30 6 * * MON-FRI", ' +
      "optionally with seconds in front and then a year at the end, or @hourly, @daily, @weekly",
  });
  for (
    const cron of ["", "every day", "* * * *", "@reboot", "* * * * * * * *", "2031-01-01T00:00:00"]
  ) {
    const read = () => nextInstant({ cron, timezone: "UTC" }, 0);
    assert.throws(read, { code: "config.cron_invalid" }, cron);
  }
});

Deno.test("an unknown time zone is named", () => {
  assert.throws(() => nextInstant({ cron: "* * * * *", timezone: "Mars/Base" }, 0), {
    code: "config.timezone_invalid",
    message: 'Unknown time zone "Mars/Base"',
    hint: "use a name of the IANA database such as UTC, Europe/Berlin or America/New_York",
  });
});
