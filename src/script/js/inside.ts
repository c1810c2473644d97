/** What one call of a script needs to know of its event; the fields of `EventView`. */
export interface InsideEvent {
  subject: string;
  data: unknown;
  id: string | null;
  timestamp: number;
  meta: unknown;
  error: unknown;
}

/** Facts about one script, told once. */
export interface InsideScript {
  readonly label: string;
  readonly usesMeta: boolean;
  readonly isAsync: boolean;
  readonly epoch: number;
  /** Its results may hold getters and the like, so they are turned into text and back. */
  readonly exotic: boolean;
}

/** One outcome; `V` is a value, or its JSON text in the cage. */
export type Outcome<V> =
  | { kind: "value"; value: V; meta?: V }
  | { kind: "event"; event: InsideResultEvent<V>; meta?: V }
  | { kind: "list"; items: ({ value: V } | { event: InsideResultEvent<V> })[]; meta?: V }
  | { kind: "drop" };

export interface InsideResultEvent<V> {
  data: V;
  subject: string;
  id: string | null;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  /** Number of the host call that failed and whose error this is. */
  readonly call?: number;
}

export type HostOp =
  | "get"
  | "put"
  | "create"
  | "increment"
  | "delete"
  | "list_keys"
  | "resource";

/** Asks the host; answers with JSON. */
export type Ask = (op: HostOp, args: readonly unknown[]) => Promise<unknown>;

/**
 * How a script's call begins and ends: what it sees, what its result means, what its errors say. The
 * same for every isolation, and self-contained like `helpers`, because it is compiled inside the cage.
 * Builtins are taken before any script runs, so that one which replaces them fools only itself.
 */
export function inside() {
  const { parse, stringify } = JSON;
  const { isArray } = Array;
  const { getPrototypeOf } = Object;
  const { isFinite } = Number;
  const { apply } = Reflect;
  const plainPrototype = Object.prototype;
  const arrayPrototype = Array.prototype;
  const indexOf = String.prototype.indexOf;
  const slice = String.prototype.slice;
  const toText = String;
  const toNumber = parseInt;
  const NativeError = Error;
  const NativePromise = Promise;

  const brand = new WeakSet<object>();
  const has = brand.has.bind(brand);
  const failure = (code: string, message: string, hint?: string): Failure => {
    const made = { code, message, hint };
    brand.add(made);
    return made;
  };

  /** Finds what JSON cannot say. `true`: the value is plain and means the same as JSON. */
  const isPlain = (value: unknown, depth: number): boolean => {
    switch (typeof value) {
      case "string":
      case "boolean":
        return true;
      case "number":
        return isFinite(value);
      case "object": {
        if (value === null) return true;
        if (depth > 200) return false;
        const prototype = getPrototypeOf(value);
        if (prototype === arrayPrototype && isArray(value)) {
          for (let i = 0; i < value.length; i++) if (!isPlain(value[i], depth + 1)) return false;
          return true;
        }
        if (prototype !== plainPrototype && prototype !== null) return false;
        for (const key in value) {
          if (key === "toJSON" || !isPlain((value as Record<string, unknown>)[key], depth + 1)) {
            return false;
          }
        }
        return true;
      }
      default:
        return false;
    }
  };

  const refuse = (what: string, key: string) =>
    failure(
      "script.failed",
      key === ""
        ? `The script returned ${what}, which is not JSON`
        : `The script returned ${what} in "${key}", which is not JSON`,
    );
  const NAMES: Record<string, string> = {
    function: "a function",
    symbol: "a symbol",
    bigint: "a BigInt",
  };
  /** Text of what `isPlain` did not let pass, as `JSON.stringify` sees it but without losing values. */
  const strictText = (value: unknown): string => {
    let refused: Failure | undefined;
    let text: string | undefined;
    try {
      text = stringify(value, (key, part) => {
        const kind = typeof part;
        if (kind === "function" || kind === "symbol" || kind === "bigint") {
          refused ??= refuse(NAMES[kind]!, key);
          return null;
        }
        // A promise would silently become `{}`.
        if (part instanceof NativePromise) refused ??= refuse("a promise without await", key);
        return part;
      });
    } catch (cause) {
      if (refused) throw refused;
      const message = cause instanceof NativeError ? toText(cause.message) : "";
      if (apply(indexOf, message, ["circular"]) >= 0) {
        throw failure("script.failed", "The script returned an object that contains itself");
      }
      throw cause;
    }
    if (refused) throw refused;
    return text ?? "null";
  };
  /** With getters about, what was looked at need not be what is written out. */
  const textOf = (exotic: boolean) => (value: unknown): string =>
    !exotic && isPlain(value, 0) ? stringify(value) : strictText(value);
  const valueOf = (exotic: boolean) => (value: unknown): unknown =>
    !exotic && isPlain(value, 0) ? value : parse(strictText(value));

  const conclude = <V>(
    result: unknown,
    event: InsideEvent,
    subject: string,
    id: string | null,
    json: (value: unknown) => V,
  ): Outcome<V> => {
    if (result === undefined) {
      throw failure("script.no_result", "The script ended without returning anything", NO_RESULT);
    }
    if (result === null) return { kind: "drop" };
    const given = (): InsideResultEvent<V> => ({
      data: json(event.data === undefined ? null : event.data),
      subject: typeof event.subject === "string" ? event.subject : subject,
      id: typeof event.id === "string" || event.id === null ? event.id : id,
    });
    if (result === event) return { kind: "event", event: given() };
    if (!isArray(result)) return { kind: "value", value: json(result) };
    const items: ({ value: V } | { event: InsideResultEvent<V> })[] = [];
    for (let i = 0; i < result.length; i++) {
      const item = result[i];
      items[i] = item === event
        ? { event: given() }
        : { value: json(item === undefined ? null : item) };
    }
    return { kind: "list", items };
  };
  const NO_RESULT = 'return a value, "event" to pass it on, or "null" to drop it on purpose';

  /** Line of the script a stack goes through first; scripts start on the second line of their file. */
  const lineOf = (stack: unknown, label: string): number => {
    if (typeof stack !== "string") return 0;
    const at = apply(indexOf, stack, [label + ":"]);
    return at < 0 ? 0 : toNumber(apply(slice, stack, [at + label.length + 1])) - 1;
  };
  const short = (text: string) => text.length > 2_000 ? apply(slice, text, [0, 2_000]) + "…" : text;

  /** What was thrown, as text. Whatever it does while being asked, only text comes out. */
  const describe = (thrown: unknown, label: string): Failure => {
    try {
      if (typeof thrown === "object" && thrown !== null && has(thrown)) return thrown as Failure;
      let message: unknown;
      let line = 0;
      let call: number | undefined;
      if (thrown instanceof NativeError) {
        message = thrown.message;
        line = lineOf(thrown.stack, label);
        const number = (thrown as { call?: unknown }).call;
        if (typeof number === "number") call = number;
      } else if (typeof thrown === "object" && thrown !== null) {
        message = (thrown as { message?: unknown }).message;
        if (typeof message !== "string") message = stringify(thrown);
      } else {
        message = toText(thrown);
      }
      const text = typeof message === "string" && message !== "" ? message : "no message";
      const place = line > 0 ? ` at line ${line}` : "";
      return { code: "script.failed", message: short(`Script failed${place}: ${text}`), call };
    } catch {
      return { code: "script.failed", message: "Script failed: what it threw cannot be read" };
    }
  };

  const NOT_HERE = "This script does not wait, so it cannot use ctx.cache or ctx.resource";
  const locked = new Proxy({}, {
    get() {
      throw new TypeError(NOT_HERE + '; write "ctx.cache" out, with await in front');
    },
  });

  /** `ctx` of one event. `settled` waits for every call of it, awaited by the script or not. */
  const contextFor = (script: InsideScript, meta: unknown, ask: Ask | null) => {
    if (ask === null) {
      return { ctx: { cache: locked, resource: locked, meta, epoch: script.epoch }, settled: null };
    }
    const open: Promise<unknown>[] = [];
    const asked = (op: HostOp, args: readonly unknown[]) => {
      const answer = ask(op, args);
      open[open.length] = (async () => {
        try {
          await answer;
        } catch {
          // The script hears of it; a failed write also fails the event, which the host sees to.
        }
      })();
      return answer;
    };
    // A ttl that was given takes its place, even if JSON cannot say it.
    const lasting = (key: string, value: unknown, ttl: unknown) =>
      ttl === undefined || ttl === null ? [key, value] : [key, value, ttl];
    const cache = {
      get: (key: string) => asked("get", [key]),
      put: (key: string, value: unknown, ttlSeconds?: number) =>
        asked("put", lasting(key, value, ttlSeconds)),
      create: (key: string, value: unknown, ttlSeconds?: number) =>
        asked("create", lasting(key, value, ttlSeconds)),
      increment: (key: string, by = 1, ttlSeconds?: number) =>
        asked("increment", lasting(key, by, ttlSeconds)),
      delete: (key: string) => asked("delete", [key]),
      list_keys: (prefix = "") => asked("list_keys", [prefix]),
    };
    const resource = { get: (key: string) => asked("resource", [key]) };
    const settled = async () => {
      for (let i = 0; i < open.length; i++) await open[i];
    };
    return { ctx: { cache, resource, meta, epoch: script.epoch }, settled };
  };

  return {
    parse,
    stringify,
    textOf,
    valueOf,
    conclude,
    describe,
    failure,
    contextFor,
  };
}

export type Inside = ReturnType<typeof inside>;
