import { turn } from "../core/clock.ts";
import { FlowErrors, toFlowError } from "../core/errors.ts";
import { identityOfPath, type Snapshot, type SnapshotFile } from "../flow/source.ts";
import { checkFlow, type CheckInput } from "./check_flow.ts";
import type { Wanted } from "./desired.ts";

export type LoadOptions = Omit<CheckInput, "identity" | "file" | "text">;

/** Files checked together: hashing waits for another thread. */
const AT_ONCE = 32;

interface Known {
  readonly text: string;
  readonly wanted: Wanted;
  /** Nothing but the file's text decides what became of it. */
  readonly lasting: boolean;
}

/**
 * Turns snapshots of flow files into wanted flows. A file that did not change is not read again,
 * except where it refers to resources, whose content may have changed.
 */
export class FlowLoader {
  #known = new Map<string, Known>();

  constructor(readonly source: string, readonly options: LoadOptions) {}

  async load(snapshot: Snapshot): Promise<Wanted[]> {
    const known = new Map<string, Known>();
    const files = [...snapshot.files.values()];
    for (let at = 0; at < files.length; at += AT_ONCE) {
      const some = files.slice(at, at + AT_ONCE);
      const loaded = await Promise.all(some.map((file) => this.#one(file)));
      some.forEach((file, index) => known.set(file.path, loaded[index]!));
      await turn(); // thousands of files must not keep health checks waiting
    }
    this.#known = known;
    const wanted = new Map([...known.values()].map(({ wanted }) => [wanted.identity, wanted]));
    for (const { identity, error } of snapshot.problems) {
      if (identity === undefined) continue;
      wanted.set(identity, {
        identity,
        source: this.source,
        file: error.position?.file ?? identity,
        flow: new FlowErrors([error]),
      });
    }
    return [...wanted.values()].sort((a, b) => a.identity < b.identity ? -1 : 1);
  }

  async #one(file: SnapshotFile): Promise<Known> {
    const before = this.#known.get(file.path);
    let text = "";
    const identity = identityOfPath(file.path);
    const base = { identity, source: this.source, file: file.file };
    try {
      text = file.text();
      if (before?.lasting && before.text === text) return before;
      const flow = await checkFlow({ ...this.options, identity, file: file.file, text });
      return { text, wanted: { ...base, flow }, lasting: !text.includes("resource") };
    } catch (cause) {
      const flow = cause instanceof FlowErrors ? cause : new FlowErrors([toFlowError(cause)]);
      return { text, wanted: { ...base, flow }, lasting: false };
    }
  }
}
