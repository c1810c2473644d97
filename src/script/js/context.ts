import vm from "node:vm";
import { type Cage, cage } from "./cage.ts";
import { inside } from "./inside.ts";
import { HELPERS } from "./tools.ts";

/**
 * Runs first in every context. Formatting a stack hands objects of the child's own realm to whatever
 * `Error.prepareStackTrace` is, the only way we found for one to get inside, so that name is taken
 * for good. The rest could block, outlive or observe more than a script needs to.
 */
const LOCK = `"use strict";
for (const name of ["console", "queueMicrotask", "WebAssembly", "SharedArrayBuffer", "Atomics",
  "FinalizationRegistry", "WeakRef"]) delete globalThis[name];
Object.defineProperty(Error, "prepareStackTrace", {
  value: undefined, writable: false, configurable: false, enumerable: false,
});
Object.defineProperty(globalThis, "Error", {
  value: Error, writable: false, configurable: false, enumerable: false,
});
Object.setPrototypeOf(globalThis, null);
`;

const CAGE = `(${cage})((${inside})(), () => ({
  ${HELPERS.map((make) => `...(${make})()`).join(", ")}
}))`;

/** Compiled once; each context evaluates it anew. */
let lock: vm.Script | undefined;
let source: vm.Script | undefined;

/** A fresh context for the scripts of one flow. Only its functions are known out here. */
export class Context {
  readonly cage: Cage;
  /** Whether each installed script waits, by its id. They live as long as their context at most. */
  readonly #waits = new Map<number, boolean>();
  readonly #context: vm.Context;

  constructor() {
    lock ??= new vm.Script(LOCK, { filename: "flowgen-lock" });
    source ??= new vm.Script(CAGE, { filename: "flowgen-cage" });
    // DONT_CONTEXTIFY: an ordinary global, with no object of ours behind it.
    const plain = vm.constants.DONT_CONTEXTIFY as unknown as vm.Context;
    this.#context = vm.createContext(plain, { codeGeneration: { strings: false, wasm: false } });
    lock.runInContext(this.#context);
    // Copied out now, before any script could have touched how objects answer.
    this.cage = { ...source.runInContext(this.#context) as Cage };
  }

  /** Answers with an error text, or `""`. */
  install(id: number, label: string, waits: boolean, facts: string, wrapped: string): string {
    const factory: unknown = new vm.Script(wrapped, { filename: label }).runInContext(
      this.#context,
    );
    const error = this.cage.install(id, facts, factory);
    if (error === "") this.#waits.set(id, waits);
    return error;
  }

  /** Whether a script waits; `undefined` when it is not installed. */
  waits(id: number): boolean | undefined {
    return this.#waits.get(id);
  }

  forget(id: number): void {
    this.cage.forget(id);
    this.#waits.delete(id);
  }
}
