import type { Clock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import type { EventView, Json, JsonObject } from "../../flow/event.ts";
import type { Script, ScriptHost, ScriptResult, ScriptSource } from "../../flow/script.ts";
import { builtin } from "./builtin.ts";
import { OVER, timeoutError } from "./failure.ts";
import { callHost, isWrite } from "./host.ts";
import { type Failure, inside, type InsideEvent, type InsideScript } from "./inside.ts";
import type { Prepared } from "./source.ts";
import { makeHelpers } from "./tools.ts";
import { wrapBody } from "./wrap.ts";

type Run = (event: InsideEvent, ctx: { meta: unknown }) => unknown;

const tools = inside();
let made = 0;

/**
 * A script in the main isolate (`scripts.isolation: none`): a plain function call, for operators who
 * trust every author. Endless loops and memory are not caught here.
 */
export function compilePlain(
  prepared: Prepared,
  source: ScriptSource,
  host: ScriptHost,
  { clock, timeout }: { clock: Clock; timeout: number },
): Script {
  const script: InsideScript = {
    label: `flowgen-script-${++made}`,
    usesMeta: prepared.usesMeta,
    isAsync: prepared.isAsync,
    exotic: prepared.exotic,
    get epoch() {
      return host.epoch;
    },
  };
  const vm = builtin("node:vm");
  const factory = new vm.Script(wrapBody(prepared.body, prepared.isAsync), {
    filename: script.label,
  }).runInThisContext() as (names: Record<string, unknown>) => Run;
  const run = factory({
    ...makeHelpers(),
    print: (value: unknown) => host.print("info", printed(value)),
    debug: (value: unknown) => host.print("debug", printed(value)),
  });
  const json = tools.valueOf(prepared.exotic) as (value: unknown) => Json;
  const { writes } = prepared;
  const watchesMeta = writes && prepared.usesMeta;
  // What only reads is lent the event itself; the scan errs towards a copy.
  const lend = (view: EventView): InsideEvent => writes ? copy(view) : view;

  const finish = (result: unknown, event: InsideEvent, view: EventView, ctx: { meta: unknown }) => {
    const outcome = tools.conclude(result, event, view.subject, view.id, json);
    if (watchesMeta && outcome.kind !== "drop") {
      const meta = changedMeta(ctx.meta, view.meta);
      if (meta) outcome.meta = meta;
    }
    return outcome as ScriptResult;
  };

  const runSync = (view: EventView): ScriptResult => {
    const event = lend(view);
    try {
      const meta = watchesMeta ? copy(view.meta) : view.meta;
      const { ctx } = tools.contextFor(script, meta, null);
      return finish(run(event, ctx), event, view, ctx);
    } catch (cause) {
      throw toError(cause, script.label);
    }
  };

  const runAsync = async (view: EventView, isOver: () => boolean): Promise<ScriptResult> => {
    const event = lend(view);
    let lostWrite: unknown;
    try {
      const meta = watchesMeta ? copy(view.meta) : view.meta;
      const { ctx, settled } = tools.contextFor(script, meta, async (op, args) => {
        if (isOver()) throw new Error(OVER);
        try {
          return await callHost(host, op, args);
        } catch (cause) {
          if (isWrite(op)) lostWrite ??= cause;
          throw cause;
        }
      });
      let result: unknown;
      try {
        result = await run(event, ctx);
      } finally {
        await settled!();
      }
      if (lostWrite !== undefined) throw lostWrite;
      return finish(result, event, view, ctx);
    } catch (cause) {
      throw toError(cause, script.label);
    }
  };

  return {
    sync: !prepared.isAsync,
    run(view, signal) {
      if (!prepared.isAsync) return runSync(view);
      return bounded((isOver) => runAsync(view, isOver), clock, timeout, source, signal);
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** A promise that never settles would hold its delivery for ever. */
function bounded(
  work: (isOver: () => boolean) => Promise<ScriptResult>,
  clock: Clock,
  timeout: number,
  source: ScriptSource,
  signal?: AbortSignal,
): Promise<ScriptResult> {
  return new Promise((resolve, reject) => {
    let over = false;
    const abort = () => end(() => reject(signal!.reason));
    const timer = clock.after(timeout, () => end(() => reject(timeoutError(source.task, timeout))));
    const end = (answer: () => void) => {
      over = true;
      timer.clear();
      signal?.removeEventListener("abort", abort);
      answer();
    };
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
    work(() => over).then(
      (result) => end(() => resolve(result)),
      (cause) => end(() => reject(cause)),
    );
  });
}

/** `ctx.meta` after the run, if the script left another map there. */
function changedMeta(after: unknown, before: unknown): JsonObject | undefined {
  if (typeof after !== "object" || after === null || Array.isArray(after)) return undefined;
  const text = tools.textOf(true)(after);
  return text === tools.stringify(before) ? undefined : tools.parse(text) as JsonObject;
}

function toError(cause: unknown, label: string): FlowError {
  if (cause instanceof FlowError) return cause;
  return failed(tools.describe(cause, label));
}

function failed({ code, message, hint }: Failure): FlowError {
  return new FlowError(code, message, { hint });
}

function printed(value: unknown): string {
  const text = typeof value === "string" ? value : tools.stringify(value) ?? String(value);
  return text.length > 2_000 ? text.slice(0, 2_000) + "…" : text;
}

/** A deep copy of JSON: quicker than `structuredClone` by an order of magnitude. */
function copy<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(copy) as T;
  const out: Record<string, unknown> = {};
  for (const key in value) {
    const part = copy(value[key]);
    // Assigning would set the prototype instead.
    if (key === "__proto__") Object.defineProperty(out, key, { value: part, ...PLAIN_FIELD });
    else out[key] = part;
  }
  return out as T;
}

const PLAIN_FIELD = { writable: true, enumerable: true, configurable: true };
