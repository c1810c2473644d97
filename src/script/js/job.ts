import { FlowError } from "../../core/errors.ts";
import type { EventView, JsonObject } from "../../flow/event.ts";
import type { ScriptEvent, ScriptHost, ScriptResult, ScriptSource } from "../../flow/script.ts";
import { OVER, timeoutError } from "./failure.ts";
import { callHost, isWrite } from "./host.ts";
import type { HostOp } from "./inside.ts";
import type { Prepared } from "./source.ts";

/** A script as the pool knows it. */
export interface CagedScript {
  readonly id: number;
  readonly source: ScriptSource;
  readonly prepared: Prepared;
  readonly host: ScriptHost;
  readonly timeout: number;
  /** Heap of the children it runs in. */
  readonly memory: number;
  readonly output: number;
}

interface Recorded {
  readonly request: string;
  readonly reply: Promise<{ ok: boolean; text: string }>;
}

/**
 * One event on its way through a child. When the child is lost it is sent again; what it had asked the
 * host for is then answered from the record, so that no write happens twice.
 */
export class Job {
  readonly text: string;
  readonly #record: Recorded[] = [];
  #asked = 0;
  #lostWrite: unknown;
  readonly #errors: unknown[] = [];
  /** Calls of the present attempt, by the child's number: for errors that come back. */
  readonly #byCall = new Map<number, number>();
  done = false;
  /** The child has said what came of it, whether anybody still wanted to know or not. */
  answered = false;
  /** When the child began with it; scripts that wait only. */
  startedAt: number | undefined;
  cancelledAt: number | undefined;

  constructor(
    readonly script: CagedScript,
    readonly view: EventView,
    readonly resolve: (result: ScriptResult) => void,
    readonly reject: (cause: unknown) => void,
  ) {
    this.text = JSON.stringify(view);
  }

  /** Forgets the attempt in a lost child; keeps what the host has done for it. */
  again(): void {
    this.#asked = 0;
    this.#byCall.clear();
    this.answered = false;
    this.startedAt = undefined;
    this.cancelledAt = undefined;
  }

  fail(cause: unknown): void {
    if (this.done) return;
    this.done = true;
    this.reject(cause);
  }

  /**
   * Does what the script asks of the host, or recalls what it answered the last time. An event that is
   * over, by its deadline for instance, has no further effect.
   */
  ask(call: number, op: HostOp, args: readonly unknown[]): Recorded["reply"] {
    if (this.done) return Promise.resolve({ ok: false, text: JSON.stringify(OVER) });
    const index = this.#asked++;
    this.#byCall.set(call, index);
    const request = JSON.stringify([op, args]);
    const known = this.#record[index];
    if (known?.request === request) return known.reply;
    // The script went another way this time: what follows is new.
    this.#record.length = index;
    const reply = this.#call(index, op, args);
    this.#record.push({ request, reply });
    return reply;
  }

  async #call(
    index: number,
    op: HostOp,
    args: readonly unknown[],
  ): Promise<{ ok: boolean; text: string }> {
    try {
      return { ok: true, text: JSON.stringify(await callHost(this.script.host, op, args)) };
    } catch (cause) {
      this.#errors[index] = cause;
      if (isWrite(op)) this.#lostWrite ??= cause;
      return { ok: false, text: JSON.stringify(cause instanceof Error ? cause.message : "failed") };
    }
  }

  /** Takes the child's answer; whatever is wrong with it fails this event only. */
  answer(result: unknown): void {
    this.answered = true;
    if (this.done) return;
    // The promise of `ctx.cache`: no answer before its writes are committed.
    if (this.#lostWrite !== undefined) return this.fail(this.#lostWrite);
    try {
      const read = readResult(result, this.view);
      if ("failure" in read) return this.fail(this.#error(read.failure));
      this.done = true;
      this.resolve(read);
    } catch (cause) {
      this.fail(new FlowError("script.failed", "The script's result cannot be read", { cause }));
    }
  }

  #error([code, message, hint, call]: readonly unknown[]): unknown {
    const cause = typeof call === "number" ? this.#errors[this.#byCall.get(call) ?? -1] : undefined;
    if (cause !== undefined) return cause;
    if (code === "script.timeout") {
      return timeoutError(this.script.source.task, this.script.timeout);
    }
    const known = CODES.has(String(code)) ? String(code) : "script.failed";
    return new FlowError(known, String(message), {
      hint: typeof hint === "string" ? hint : undefined,
    });
  }
}

/** Codes a child may give; a script that got out cannot make its errors look like others. */
const CODES = new Set(["script.failed", "script.no_result", "script.output_too_large"]);

export function memoryOf({ source }: CagedScript): FlowError {
  return new FlowError("script.memory", `Script "${source.task}" used more memory than it may`, {
    hint: "make the script hold less at once, or raise limits.memory",
  });
}

type Read = ScriptResult | { readonly failure: readonly unknown[] };

interface Wire {
  readonly v?: never;
  readonly e?: 0 | readonly unknown[];
  readonly l?: readonly Wire[];
  readonly m?: unknown;
  readonly x?: readonly unknown[];
}

/** The short forms of `cage.outcomeText`, checked like anything that comes from a script. */
function readResult(result: unknown, view: EventView): Read {
  if (result === 0) return { kind: "drop" };
  if (typeof result !== "object" || result === null) throw new TypeError("not a result");
  const wire = result as Wire;
  if (wire.x) return { failure: wire.x };
  const meta = typeof wire.m === "object" && wire.m !== null && !Array.isArray(wire.m)
    ? wire.m as JsonObject
    : undefined;
  if (wire.l) {
    const items = wire.l.map((item) =>
      item.e === undefined ? { value: item.v! } : { event: readEvent(item.e, view) }
    );
    return { kind: "list", items, meta };
  }
  if (wire.e !== undefined) return { kind: "event", event: readEvent(wire.e, view), meta };
  if (wire.v === undefined) throw new TypeError("not a result");
  return { kind: "value", value: wire.v, meta };
}

function readEvent(event: 0 | readonly unknown[], view: EventView): ScriptEvent {
  if (event === 0) return view;
  const [subject, id, data] = event;
  return {
    subject: typeof subject === "string" ? subject : view.subject,
    id: typeof id === "string" ? id : null,
    data: (data ?? null) as ScriptEvent["data"],
  };
}
