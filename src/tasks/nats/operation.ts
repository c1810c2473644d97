import { FlowError, FlowErrors } from "../../core/errors.ts";
import type { CheckContext } from "../../flow/task.ts";

/** A field that means something to some operations only. */
export interface OperationField {
  readonly operations: readonly string[];
  /** Of those, the ones that cannot do without it; all when left out. */
  readonly needed?: readonly string[];
  /** What to write where it is missing. */
  readonly example?: string;
}

/**
 * Checks that an operation has the fields it needs and no others.
 *
 * @throws {FlowErrors} `config.unused_key`, `config.missing_key`
 */
export function checkOperation(
  { config, locate }: Pick<CheckContext<{ readonly operation: string }>, "config" | "locate">,
  fields: Readonly<Record<string, OperationField>>,
): void {
  const { operation } = config;
  const findings: FlowError[] = [];
  for (const [name, { operations, needed = operations, example }] of Object.entries(fields)) {
    const given = (config as Record<string, unknown>)[name] !== undefined;
    if (given && !operations.includes(operation)) {
      const message = `"${name}" has no meaning with the operation "${operation}"`;
      findings.push(new FlowError("config.unused_key", message, { position: locate([name]) }));
    }
    if (!given && needed.includes(operation)) {
      findings.push(
        new FlowError("config.missing_key", `Expected "${name}" for "${operation}"`, {
          hint: `write for example ${name}: "${example}"`,
          position: locate([]),
        }),
      );
    }
  }
  if (findings.length > 0) throw new FlowErrors(findings);
}
