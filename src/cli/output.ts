import { errorToJson, FlowError, formatError } from "../core/errors.ts";
import { type Paint, paintFor } from "./paint.ts";
import { visible } from "./visible.ts";

/** Where a command says things: results on stdout, errors on stderr. */
export class Output {
  /** Whether results are JSON. */
  readonly json: boolean;
  /** Colours of stdout. */
  readonly paint: Paint;
  readonly #errorsJson: boolean;

  constructor(asked: { json: boolean; text: boolean }) {
    this.json = asked.json || (!asked.text && !Deno.stdout.isTerminal());
    this.#errorsJson = asked.json;
    this.paint = paintFor(Deno.stdout);
  }

  print(text: string): void {
    console.log(text);
  }

  /** A JSON document for people and programs. */
  printJson(value: unknown): void {
    console.log(JSON.stringify(value, null, 2));
  }

  errors(findings: readonly FlowError[]): void {
    if (this.#errorsJson) {
      console.error(JSON.stringify({ errors: findings.map(errorToJson) }, null, 2));
    } else {
      console.error(formatFindings(findings, paintFor(Deno.stderr)));
    }
  }
}

/** Findings with an empty line between them. */
export function formatFindings(findings: readonly FlowError[], { red, dim }: Paint): string {
  return findings.map((finding) => {
    const [head, message, ...hints] = formatError(shown(finding)).split("\n");
    return [red(head!), message, ...hints.map(dim)].join("\n");
  }).join("\n\n");
}

/** The finding with one line for each of its texts, which may hold words from outside. */
function shown({ code, message, hint, position }: FlowError): FlowError {
  return new FlowError(visible(code), visible(message), {
    hint: hint && visible(hint),
    position: position && { ...position, file: visible(position.file) },
  });
}
