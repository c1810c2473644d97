import { checkConfig } from "../config/load.ts";
import { systemClock } from "../core/clock.ts";
import { silentLog } from "../core/log.ts";
import type { Json, JsonObject } from "../flow/event.ts";
import type { ScriptHost, ScriptLanguage, ScriptResult } from "../flow/script.ts";
import { memoryStore, scriptEngines } from "../parts.ts";

export const LANGUAGES: readonly ScriptLanguage[] = ["js", "ts", "rhai"];
export const ISOLATIONS = ["process", "none"] as const;

/** What one may say of the event a script is tried on. */
export interface EventInit {
  readonly data?: Json;
  readonly subject?: string;
  readonly id?: string;
  readonly meta?: JsonObject;
  /** Microseconds since 1970. */
  readonly timestamp?: number;
}

/** Runs scripts outside of any flow. Each has globals and a cache of its own. */
export class ScriptBench implements AsyncDisposable {
  readonly #engines: ReturnType<typeof scriptEngines>;
  #count = 0;

  constructor(isolation: typeof ISOLATIONS[number]) {
    const config = checkConfig({ scripts: { isolation, children: 1 } });
    this.#engines = scriptEngines(config, { clock: systemClock, log: silentLog });
  }

  /**
   * @returns the data that would go on: `null` for an event that was dropped.
   * @throws {FlowError} as `ScriptEngines.compile` and `Script.run`
   */
  async run(code: string, language: ScriptLanguage, event: EventInit = {}): Promise<Json> {
    const flow = `eval-${++this.#count}`;
    await using cache = await memoryStore(systemClock);
    await using script = await this.#engines.compile(
      { code, language, flow, task: "eval" },
      host(cache),
    );
    return dataOf(
      await script.run({
        subject: event.subject ?? "eval",
        data: event.data ?? {},
        id: event.id ?? null,
        timestamp: event.timestamp ?? systemClock.now() * 1_000,
        meta: event.meta ?? {},
        error: null,
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engines[Symbol.asyncDispose]();
  }
}

function host(cache: ScriptHost["cache"]): ScriptHost {
  return {
    cache,
    epoch: 0,
    resource: () => Promise.resolve(null),
    print: (_level, text) => console.error(text), // stdout belongs to the answer
  };
}

function dataOf(result: ScriptResult): Json {
  switch (result.kind) {
    case "value":
      return result.value;
    case "event":
      return result.event.data;
    case "list":
      return result.items.map((item) => "event" in item ? item.event.data : item.value);
    case "drop":
      return null;
  }
}
