import type { ScriptLimits } from "../flow/script.ts";

const MIB = 1024 * 1024;

/** What a script may use where neither config.yaml nor its task says. */
export const DEFAULT_LIMITS: ScriptLimits = {
  timeout: 5_000,
  memory: 128 * MIB,
  output: 16 * MIB,
};

/** What a task may ask for where config.yaml sets no limit. */
export const GREATEST_LIMITS: ScriptLimits = {
  timeout: 600_000,
  memory: 4096 * MIB,
  output: 256 * MIB,
};

/** The contexts of 64 flows, which share a child, take half of it. */
const LEAST_HEAP = 64 * MIB;

/**
 * What a script may use: its task's limits where it has some, never more than those of config.yaml.
 *
 * Heap is a property of a process, so `memory` is rounded up to one of a few sizes, the powers of two
 * up to the ceiling: scripts of one size share their children.
 */
export function limitsOf(
  operator: Partial<ScriptLimits> = {},
  task: Partial<ScriptLimits> = {},
): ScriptLimits {
  const limit = (name: keyof ScriptLimits) => {
    const wanted = task[name] ?? operator[name] ?? DEFAULT_LIMITS[name];
    return Math.min(wanted, ceiling(name));
  };
  const ceiling = (name: keyof ScriptLimits) => operator[name] ?? GREATEST_LIMITS[name];
  let heap = LEAST_HEAP;
  while (heap < limit("memory")) heap *= 2;
  return {
    timeout: limit("timeout"),
    memory: Math.min(heap, ceiling("memory")),
    output: limit("output"),
  };
}
