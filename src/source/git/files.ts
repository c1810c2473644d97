import { FlowError } from "../../core/errors.ts";
import type { SnapshotFile, SnapshotProblem } from "../../flow/source.ts";
import { quoteList } from "../../flow/similar.ts";
import type { Listing } from "./tree.ts";

/** @param file Path from the root of the repository. */
export function snapshotFile(path: string, file: string, data: Uint8Array): SnapshotFile {
  return {
    path,
    file,
    bytes: () => data,
    text() {
      try {
        return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
      } catch (cause) {
        throw new FlowError("source.not_text", `Cannot read ${file} as text`, {
          hint: "save it as UTF-8",
          position: { file, line: 1, column: 1 },
          cause,
        });
      }
    },
  };
}

/** What of a commit is not delivered, or not everywhere; no flow is concerned for sure. */
export function problemsOf({ files, links, submodules }: Listing): SnapshotProblem[] {
  const problems: SnapshotProblem[] = [];
  const add = (code: string, message: string, hint: string) =>
    problems.push({ error: new FlowError(code, message, { hint }) });
  if (links.length > 0) {
    const names = quoteList([...links].sort(), 10);
    add("source.link_skipped", `The symbolic links ${names} are left out`, "commit files instead");
  }
  if (submodules.length > 0) {
    const names = quoteList([...submodules].sort(), 10);
    const hint = "read the other repository as a source of its own";
    add("source.submodule_skipped", `The submodules ${names} are left out`, hint);
  }
  const twins = [...Map.groupBy(files.map(({ file }) => file), folded).values()]
    .filter((group) => group.length > 1);
  for (const group of twins) {
    const names = quoteList(group.sort());
    const hint = "rename all but one of them";
    add("source.path_collision", `The paths ${names} are one and the same on some systems`, hint);
  }
  return problems;
}

function folded(path: string): string {
  return path.normalize("NFC").toLowerCase();
}
