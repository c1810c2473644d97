import type { Failure, HostOp, Inside, InsideEvent, InsideScript, Outcome } from "./inside.ts";

/** What the child's own side calls inside a context. Strings and numbers in, strings and numbers out. */
export interface Cage {
  /** The factory was born inside and only passes through; answers with an error text or `""`. */
  install(id: number, facts: string, factory: unknown): string;
  forget(id: number): void;
  /** Reads a batch of events; answers how many. */
  load(id: number, batch: string): number;
  /** Runs one loaded event of a script that does not wait. */
  one(index: number): string;
  /** Starts one loaded event of a script that waits; its answer comes with `take`. */
  start(index: number, batch: number): void;
  reply(call: number, ok: number, text: string): void;
  /** Answers a started event whose time is over. */
  cancel(batch: number, index: number): void;
  /** What came up since: prints, host calls and answers, as items of a JSON list; `""` for nothing. */
  take(): string;
}

interface Installed extends InsideScript {
  readonly writes: boolean;
  /** Bytes of JSON text a result may have. */
  readonly output: number;
  readonly text: (value: unknown) => string;
  run(event: InsideEvent, ctx: unknown): unknown;
}

/**
 * The inside of a cage. This function becomes source text and is compiled in a fresh context, together
 * with `inside` and the helpers, before any script is. It must not use names from outside.
 */
export function cage(
  tools: Inside,
  makeHelpers: () => Record<string, unknown>,
): Cage {
  const { parse, stringify } = tools;
  const NativePromise = Promise;
  const NativeError = Error;
  const charCode = String.prototype.charCodeAt;
  const apply = Reflect.apply;
  const toText = String;

  const scripts: { [id: number]: Installed } = { __proto__: null } as never;
  let current: Installed;
  let events: InsideEvent[] = [];
  let outbox = "";
  const post = (item: string) => {
    outbox = outbox === "" ? item : outbox + "," + item;
  };

  const print = (id: number, level: string) => (value: unknown) => {
    let text: unknown;
    try {
      text = typeof value === "string" ? value : stringify(value) ?? toText(value);
    } catch {
      text = "(cannot be printed)";
    }
    let line = typeof text === "string" ? text : "";
    if (line.length > 2_000) line = line.substring(0, 2_000) + "…";
    // A script that prints without end must not fill the memory of both sides.
    if (outbox.length < 262_144) post(`["p",${id},"${level}",${stringify(line)}]`);
  };

  const tooLarge = (text: string, limit: number): boolean => {
    if (text.length * 3 <= limit) return false;
    if (text.length > limit) return true;
    let bytes = 0;
    for (let i = 0; i < text.length; i++) {
      const code: number = apply(charCode, text, [i]);
      bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code >= 0xd800 && code < 0xe000 ? 2 : 3;
    }
    return bytes > limit;
  };

  const failureText = ({ code, message, hint, call }: Failure): string =>
    `{"x":[${stringify(code)},${stringify(message)},${stringify(hint ?? null)},${call ?? 0}]}`;

  const outcomeText = (outcome: Outcome<string>, script: Installed): string => {
    const meta = outcome.kind !== "drop" && outcome.meta !== undefined
      ? `,"m":${outcome.meta}`
      : "";
    const eventText = (event: { data: string; subject: string; id: string | null }) =>
      `{"e":[${stringify(event.subject)},${stringify(event.id)},${event.data}]`;
    switch (outcome.kind) {
      case "drop":
        return "0";
      case "value":
        return `{"v":${outcome.value}${meta}}`;
      case "event":
        // Without writes the other side still has it all.
        return script.writes ? eventText(outcome.event) + meta + "}" : `{"e":0${meta}}`;
      case "list": {
        let items = "";
        for (let i = 0; i < outcome.items.length; i++) {
          const item = outcome.items[i]!;
          items += (i === 0 ? "" : ",") +
            ("event" in item
              ? (script.writes ? eventText(item.event) + "}" : '{"e":0}')
              : `{"v":${item.value}}`);
        }
        return `{"l":[${items}]${meta}}`;
      }
    }
  };

  /** `ctx.meta` before and after, as text; a script that does not look at it pays nothing. */
  const changedMeta = (before: string, after: unknown): string | undefined => {
    if (typeof after !== "object" || after === null || Array.isArray(after)) return undefined;
    const text = tools.textOf(true)(after);
    return text === before ? undefined : text;
  };

  const given = { subject: "", id: null as string | null };
  const answer = (
    script: Installed,
    result: unknown,
    event: InsideEvent,
    was: { subject: string; id: string | null },
    ctx: { meta: unknown },
    metaText: string,
  ): string => {
    // An event that was only read is not written out again: see `outcomeText`.
    if (result === event && !script.writes) return '{"e":0}';
    const outcome = tools.conclude(result, event, was.subject, was.id, script.text);
    if (metaText !== "" && outcome.kind !== "drop") {
      outcome.meta = changedMeta(metaText, ctx.meta);
    }
    const text = outcomeText(outcome, script);
    if (tooLarge(text, script.output)) {
      throw tools.failure(
        "script.output_too_large",
        `The script returned more than ${script.output} bytes`,
        "return less, or raise limits.output",
      );
    }
    return text;
  };
  const jobs: { [key: string]: true } = { __proto__: null } as never;
  const calls: {
    [call: number]: { ok: (value: unknown) => void; bad: (cause: unknown) => void };
  } = { __proto__: null } as never;
  let lastCall = 0;
  const finishJob = (key: string, batch: number, index: number, text: string) => {
    if (jobs[key] !== true) return;
    delete jobs[key];
    post(`["r",${batch},${index},${text}]`);
  };

  return {
    install(id, facts, factory) {
      try {
        const script = parse(facts) as Installed;
        const run = (factory as (names: unknown) => Installed["run"])({
          ...makeHelpers(),
          print: print(id, "info"),
          debug: print(id, "debug"),
        });
        scripts[id] = { ...script, run, text: tools.textOf(script.exotic) };
        return "";
      } catch (cause) {
        return failureText(tools.describe(cause, ""));
      }
    },
    forget(id) {
      delete scripts[id];
    },
    load(id, batch) {
      current = scripts[id]!;
      events = parse(batch) as InsideEvent[];
      return events.length;
    },
    one(index) {
      const event = events[index]!;
      try {
        const was = given;
        was.subject = event.subject;
        was.id = event.id;
        const metaText = current.usesMeta && current.writes ? stringify(event.meta) : "";
        const meta = metaText === "" ? event.meta : parse(metaText);
        const { ctx } = tools.contextFor(current, meta, null);
        return answer(current, current.run(event, ctx), event, was, ctx, metaText);
      } catch (cause) {
        return failureText(tools.describe(cause, current.label));
      }
    },
    start(index, batch) {
      const script = current;
      const event = events[index]!;
      const key = `${batch}.${index}`;
      jobs[key] = true;
      const was = { subject: event.subject, id: event.id };
      const ask = (op: HostOp, args: readonly unknown[]) =>
        new NativePromise<unknown>((ok, bad) => {
          const call = ++lastCall;
          let list = "";
          for (let i = 0; i < args.length; i++) {
            list += (i === 0 ? "" : ",") +
              (args[i] === undefined ? "null" : tools.textOf(true)(args[i]));
          }
          calls[call] = { ok, bad };
          post(`["c",${call},${batch},${index},"${op}",[${list}]]`);
        });
      (async () => {
        let text: string;
        try {
          const metaText = script.usesMeta && script.writes ? stringify(event.meta) : "";
          const meta = metaText === "" ? event.meta : parse(metaText);
          const { ctx, settled } = tools.contextFor(script, meta, ask);
          let result: unknown;
          try {
            result = await script.run(event, ctx);
          } finally {
            await settled!();
          }
          text = answer(script, result, event, was, ctx, metaText);
        } catch (cause) {
          text = failureText(tools.describe(cause, script.label));
        }
        finishJob(key, batch, index, text);
      })();
    },
    reply(call, ok, text) {
      const waiting = calls[call];
      if (!waiting) return;
      delete calls[call];
      if (ok === 1) return waiting.ok(parse(text));
      const error = new NativeError(parse(text) as string) as Error & { call: number };
      error.call = call;
      waiting.bad(error);
    },
    cancel(batch, index) {
      finishJob(`${batch}.${index}`, batch, index, '{"x":["script.timeout","",null,0]}');
    },
    take() {
      const out = outbox;
      outbox = "";
      return out;
    },
  };
}
