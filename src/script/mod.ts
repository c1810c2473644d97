import type { Clock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type {
  Script,
  ScriptEngines,
  ScriptHost,
  ScriptLanguage,
  ScriptLimits,
  ScriptSource,
} from "../flow/script.ts";
import type { Pool } from "./js/pool.ts";
import type { ChildCommand } from "./js/process.ts";
import { prepare } from "./js/source.ts";
import { limitsOf } from "./limits.ts";

export type { ChildCommand } from "./js/process.ts";
export { DEFAULT_LIMITS, GREATEST_LIMITS } from "./limits.ts";

export interface ScriptEngineOptions {
  /** `process`: in children without any permission. `none`: in this isolate, without a cage. */
  readonly isolation: "process" | "none";
  readonly defaultLanguage: ScriptLanguage;
  /**
   * Children at most, beside one for scripts that have cost theirs; cores less one when left out.
   */
  readonly children?: number;
  /** Ceilings for what tasks ask for, and what applies where they do not ask. */
  readonly limits?: Partial<ScriptLimits>;
  readonly clock: Clock;
  readonly log: Log;
  /** How to start a child; this binary running `js/child.ts` when left out. */
  readonly command?: ChildCommand;
}

/** Engines for all flows of this process. No child runs before a caged script does. */
export function createScriptEngines(
  options: ScriptEngineOptions,
): ScriptEngines & AsyncDisposable {
  return new Engines(options);
}

class Engines implements ScriptEngines, AsyncDisposable {
  readonly #options: ScriptEngineOptions;
  #pool: Promise<Pool> | undefined;

  constructor(options: ScriptEngineOptions) {
    this.#options = options;
  }

  get defaultLanguage(): ScriptLanguage {
    return this.#options.defaultLanguage;
  }

  check(source: ScriptSource): void {
    prepareFor(source);
  }

  async compile(source: ScriptSource, host: ScriptHost): Promise<Script> {
    const prepared = prepareFor(source);
    const { isolation, clock } = this.#options;
    const limits = limitsOf(this.#options.limits, source.limits);
    // Flows without scripts must not pay for engines at start-up, nor one isolation for the other.
    if (isolation === "none") {
      const { compilePlain } = await import("./js/plain.ts");
      return compilePlain(prepared, source, host, { clock, timeout: limits.timeout });
    }
    const { compileCaged } = await import("./js/caged.ts");
    this.#pool ??= this.#openPool().catch((cause) => {
      this.#pool = undefined; // the next one may be allowed to
      throw cause;
    });
    return compileCaged(await this.#pool, prepared, source, host, limits);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pool = await this.#pool;
    await pool?.[Symbol.asyncDispose]();
  }

  async #openPool(): Promise<Pool> {
    const { Pool } = await import("./js/pool.ts");
    const { Child, defaultCommand } = await import("./js/process.ts");
    const { clock, log, command = defaultCommand() } = this.#options;
    assertMayRun(command.command);
    return new Pool({
      start: (memory, listener) => Child.start({ command, clock, memory }, listener),
      children: this.#options.children ?? Math.max(1, navigator.hardwareConcurrency - 1),
      clock,
      log,
    });
  }
}

/** Better said when a flow is made than at its first event. @throws {FlowError} `script.not_allowed` */
function assertMayRun(command: string): void {
  if (Deno.permissions.querySync({ name: "run", command }).state === "granted") return;
  throw new FlowError(
    "script.not_allowed",
    "Cannot run scripts in a process of their own: the permission to start it is missing",
    {
      hint: `start with --allow-run=${command}, or trust all authors with scripts.isolation: none`,
    },
  );
}

/** @throws {FlowError} `script.engine_unavailable`, `script.syntax`, `script.no_return` */
function prepareFor(source: ScriptSource) {
  if (source.language === "rhai") {
    throw new FlowError(
      "script.engine_unavailable",
      "engine rhai is not available in this version",
      { hint: 'write the script as JavaScript or TypeScript: "engine: js" or "engine: ts"' },
    );
  }
  return prepare(source);
}
