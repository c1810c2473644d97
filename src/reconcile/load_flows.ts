import { turn } from "../core/clock.ts";
import { sha256Hex } from "../core/digest.ts";
import { FlowErrors, toFlowError } from "../core/errors.ts";
import type { Flow } from "../flow/flow.ts";
import { identityOfPath, type Snapshot, type SnapshotFile } from "../flow/source.ts";
import { checkFlow, type CheckInput } from "./check_flow.ts";
import type { Wanted } from "./desired.ts";
import { SnapshotResources } from "./snapshot_resources.ts";

export interface LoadOptions extends Omit<CheckInput, "identity" | "file" | "text"> {
  /** Whether the flows come from Git, OCI or the store: then they have their snapshot's resources. */
  readonly outside?: boolean;
}

/** Flow files, and for flows from outside the files that they may refer to, by key. */
export interface FlowSnapshot extends Snapshot {
  readonly resources?: ReadonlyMap<string, SnapshotFile>;
}

/** Files checked together: hashing waits for another thread. */
const AT_ONCE = 32;

interface Known {
  readonly text: string;
  readonly wanted: Wanted;
  /** Nothing but the file's text decides what became of it. */
  readonly lasting: boolean;
}

/** The generation of a flow that was made from a text, and which snapshot it belongs to. */
interface Generation {
  digest: string;
  snapshot: FlowSnapshot;
}

/**
 * Turns snapshots of flow files into wanted flows. A file that did not change is not read again,
 * except where it refers to resources, whose content may have changed.
 */
export class FlowLoader {
  #known = new Map<string, Known>();
  #snapshot: FlowSnapshot | null = null;
  /** By identity, what the last snapshot wants. */
  #wanted = new Map<string, Wanted>();
  readonly #generations = new WeakMap<Flow, Generation>();

  /** @param source As shown in the status: `files`, `workspace:demo`, `store`. */
  constructor(readonly source: string, readonly options: LoadOptions) {}

  /** The flows of a snapshot by identity, right or wrong. */
  async load(snapshot: FlowSnapshot): Promise<Wanted[]> {
    const known = new Map<string, Known>();
    const files = [...snapshot.files.values()];
    for (let at = 0; at < files.length; at += AT_ONCE) {
      const some = files.slice(at, at + AT_ONCE);
      const loaded = await Promise.all(some.map((file) => this.#one(file, snapshot)));
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
    this.#moveOn(snapshot, wanted);
    return [...wanted.values()].sort((a, b) => a.identity < b.identity ? -1 : 1);
  }

  async #one(file: SnapshotFile, snapshot: FlowSnapshot): Promise<Known> {
    const before = this.#known.get(file.path);
    let text = "";
    const identity = identityOfPath(file.path);
    const base = { identity, source: this.source, file: file.file };
    try {
      text = file.text();
      if (before?.lasting && before.text === text) return before;
      const flow = await this.#check(base, text, snapshot);
      return { text, wanted: { ...base, flow }, lasting: !text.includes("resource") };
    } catch (cause) {
      const flow = cause instanceof FlowErrors ? cause : new FlowErrors([toFlowError(cause)]);
      return { text, wanted: { ...base, flow }, lasting: false };
    }
  }

  async #check(
    { identity, file }: { identity: string; file: string },
    text: string,
    snapshot: FlowSnapshot,
  ): Promise<Flow> {
    const { outside, ...options } = this.options;
    if (!outside) return await checkFlow({ ...options, identity, file, text });
    const generation: Generation = { digest: "", snapshot };
    const resources = new SnapshotResources(
      () => this.#snapshotOf(identity, generation),
      options.resources,
    );
    const checked = await checkFlow({ ...options, resources, identity, file, text });
    // The same file from elsewhere may reach other things, so it is another flow.
    const digest = generation.digest = await sha256Hex(`${this.source}\n${checked.digest}`);
    const flow = { ...checked, digest, outside: { resources } };
    this.#generations.set(flow, generation);
    return flow;
  }

  /** What runs unchanged is part of the newest snapshot; what was replaced stays with its own. */
  #snapshotOf(identity: string, { digest, snapshot }: Generation): FlowSnapshot {
    const flow = this.#wanted.get(identity)?.flow;
    const isWanted = flow && !(flow instanceof FlowErrors) && flow.digest === digest;
    return isWanted ? this.#snapshot! : snapshot;
  }

  #moveOn(snapshot: FlowSnapshot, wanted: Map<string, Wanted>): void {
    this.#snapshot = snapshot;
    this.#wanted = wanted;
    for (const { flow } of wanted.values()) {
      // Flows that never change would else keep the snapshots of all times alive.
      const generation = flow instanceof FlowErrors ? undefined : this.#generations.get(flow);
      if (generation) generation.snapshot = snapshot;
    }
  }
}
