import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { FlowError } from "../core/errors.ts";
import { jsonLine } from "./log_json.ts";
import { prettyLine } from "./log_pretty.ts";
import { lineSink } from "./log_sink.ts";
import { logsJson } from "./logging.ts";
import { formatFindings } from "./output.ts";
import { paintFor } from "./paint.ts";

const plain = paintFor({ isTerminal: () => false });

function record(message: string, properties: Record<string, unknown> = {}): LogRecord {
  return {
    category: ["flowgen", "flow"],
    level: "info",
    message: [message],
    rawMessage: message,
    timestamp: Date.parse("2030-01-01T12:00:00.250Z"),
    properties,
  };
}

/** Without the time of day, which depends on where the test runs. */
function pretty(message: string, properties?: Record<string, unknown>): string {
  return prettyLine(record(message, properties), plain).replace(/^\d\d:\d\d:00\.250 info {2}/, "");
}

Deno.test("a record is one line of JSON whose own fields no other field can replace", () => {
  const text = jsonLine(record("Flow started", { flow: "a", level: 3 }));
  assert.equal(
    text,
    '{"timestamp":"2030-01-01T12:00:00.250Z","level":"info","logger":"flowgen.flow",' +
      '"message":"Flow started","flow":"a","_level":3}',
  );
});

Deno.test("what JSON cannot say does not lose a record", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const error = new FlowError("http.timeout", "Too late");
  const fields = { big: 2n ** 70n, bytes: new Uint8Array([1, 2]), error };
  assert.deepEqual(JSON.parse(jsonLine(record("Odd", fields))), {
    timestamp: "2030-01-01T12:00:00.250Z",
    level: "info",
    logger: "flowgen.flow",
    message: "Odd",
    big: "1180591620717411303424",
    bytes: "AQI=",
    error: { name: "FlowError", message: "Too late", code: "http.timeout" },
  });
  assert.match(jsonLine(record("Round", { circle })), /Circular/);
});

Deno.test("braces in a message are no placeholders", () => {
  assert.equal(pretty("Cannot read {{env.TOKEN}}"), "Cannot read {{env.TOKEN}}");
  assert.match(jsonLine(record("Cannot read {x}")), /"message":"Cannot read \{x\}"/);
});

Deno.test("a person sees fields behind the message, and texts of several lines below it", () => {
  assert.equal(
    pretty("Flow does not run", { flow: "a", state: "very bad", error: "a.yaml:1:1 x.y\nNo" }),
    'Flow does not run  flow=a state="very bad"\n  a.yaml:1:1 x.y\n  No',
  );
});

Deno.test("the log task shows where an event is and its data, long data on lines of its own", () => {
  const from = { flow: "shop", task: "show", "event.subject": "order" };
  assert.equal(
    pretty("Event", { ...from, "event.id": "7", data: { n: 1 } }),
    'shop › show  {"n":1}  id=7',
  );
  const text = "x".repeat(100);
  assert.equal(
    pretty("Event", { ...from, "event.id": null, data: { text } }),
    `shop › show\n  {\n    "text": "${text}"\n  }`,
  );
});

Deno.test("lines are written together, in order, and flushed on request", async () => {
  const written: string[] = [];
  const stream = {
    writeSync(bytes: Uint8Array) {
      const part = bytes.subarray(0, 5); // A pipe may take less than it is given.
      written.push(new TextDecoder().decode(part));
      return part.length;
    },
  };
  const { sink, flush } = lineSink(stream, ({ rawMessage }) => String(rawMessage));
  sink(record("one"));
  sink(record("two"));
  assert.deepEqual(written, []);
  flush();
  assert.equal(written.join(""), "one\ntwo\n");
  sink(record("three"));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(written.join(""), "one\ntwo\nthree\n");
});

Deno.test("a log whose reader has gone is silent", () => {
  let calls = 0;
  const stream = {
    writeSync(): number {
      calls++;
      throw new Deno.errors.BrokenPipe();
    },
  };
  const { sink, flush } = lineSink(stream, () => "line");
  sink(record("one"));
  flush();
  sink(record("two"));
  flush();
  assert.equal(calls, 1);
});

Deno.test("a full disk loses lines, and the first that gets through says how many", () => {
  const disk = { room: 0, written: "" };
  const stream = {
    writeSync(bytes: Uint8Array): number {
      if (disk.room === 0) throw new Error("No space left on device (os error 28)");
      const part = bytes.subarray(0, disk.room);
      disk.room -= part.length;
      disk.written += new TextDecoder().decode(part);
      return part.length;
    },
  };
  const { sink, flush } = lineSink(stream, ({ rawMessage, properties }) => {
    return "lines" in properties ? `${properties.lines} lost` : String(rawMessage);
  });
  sink(record("one"));
  sink(record("two"));
  flush();
  sink(record("three"));
  flush();
  disk.room = 9;
  sink(record("four"));
  sink(record("five"));
  flush();
  assert.equal(disk.written, "3 lost\nfo");
  sink(record("six"));
  flush();
  disk.room = 1_000;
  sink(record("seven"));
  flush();
  sink(record("eight"));
  flush();
  assert.equal(disk.written, "3 lost\nfo\n3 lost\nseven\neight\n");
});

const EVIL = "a\x1b]0;x\x07\x9b2J\x7f\n12:00:00.000 error Fake";
const SPELT = "a\\u001b]0;x\\u0007\\u009b2J\\u007f\\n12:00:00.000 error Fake";

Deno.test("no value can steer the terminal or pass for a record", () => {
  assert.equal(pretty("Odd", { value: EVIL }), `Odd  value="${SPELT}"`);
  assert.equal(pretty("Odd", { value: "\x1b" }), 'Odd  value="\\u001b"');
  assert.equal(pretty("Odd", { [EVIL]: [EVIL] }), `Odd  ${SPELT}=["${SPELT}"]`);
  assert.equal(
    pretty("Event", { flow: EVIL, task: "t", "event.subject": EVIL, data: EVIL }),
    `${SPELT} › t  "${SPELT}"`,
  );
  const [first, second] = SPELT.split("\\n");
  assert.equal(pretty("Odd", { error: EVIL }), `Odd\n  ${first}\n  ${second}`);
  assert.equal(pretty(EVIL), `${first}\n  ${second}`);
});

Deno.test("findings keep their lines, whatever their words hold", () => {
  const position = { file: EVIL, line: 1, column: 2 };
  const finding = new FlowError("x.y", EVIL, { hint: EVIL, position });
  assert.equal(
    formatFindings([finding], plain),
    `${SPELT}:1:2 x.y\n${SPELT}\nhint: ${SPELT}`,
  );
});

Deno.test("the form of the log: options, then LOG_FORMAT, then config.yaml, then the terminal", () => {
  const unasked = { json: false, text: false };
  const terminal = { json: false };
  assert.equal(logsJson(terminal, { json: true, text: false }, "pretty", "compact"), true);
  assert.equal(logsJson(terminal, { json: false, text: true }, "json", "json"), false);
  assert.equal(logsJson({ json: true }, unasked, "json", "Compact"), false);
  assert.equal(logsJson(terminal, unasked, "pretty", "full"), true);
  assert.equal(logsJson(terminal, unasked, "json", undefined), true);
  assert.equal(logsJson(terminal, unasked, "auto", undefined), false);
});
