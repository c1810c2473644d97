import { FlowError } from "../core/errors.ts";
import type { SnapshotFile } from "./source.ts";

/**
 * A file of a snapshot whose bytes are at hand. A byte order mark stays in the text.
 *
 * @param file As shown to people.
 */
export function snapshotFile(path: string, file: string, bytes: Uint8Array): SnapshotFile {
  let text: string | undefined;
  return {
    path,
    file,
    bytes: () => bytes,
    text() {
      try {
        return text ??= new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
      } catch {
        throw new FlowError("source.not_text", `Cannot read ${file} as text`, {
          hint: "save it as UTF-8",
          position: { file, line: 1, column: 1 },
        });
      }
    },
  };
}
