/** Remotes that a test fills, and flows of the sync tasks over them. */
import type { TestClock } from "../../core/clock.ts";
import type { OpenRemote, Remote, RemoteFile, RemoteSnapshot } from "../../flow/remote.ts";
import type { Services } from "../../flow/services.ts";
import { snapshotFile } from "../../flow/snapshot_file.ts";
import type { AsyncDefinition, Output } from "../../flow/task.ts";
import type { FlowEvent } from "../../flow/event.ts";
import { outputs, testCall, testContext, testEvent } from "../../flow/testing.ts";
import { MemoryStore } from "../../store/memory.ts";

export const BINARY = new Uint8Array([0xff, 0x00, 0xfe]);

/** A place that holds one version, or is out of reach. */
export class FakeRemote {
  readonly opened: Remote[] = [];
  /** What `previous` was at each read. */
  readonly reads: (string | null)[] = [];
  snapshot: RemoteSnapshot;
  /** Called in each read; throw in it to fail. */
  onRead: () => void | Promise<void> = () => {};

  constructor(version: string, files: Readonly<Record<string, string | Uint8Array>>) {
    this.snapshot = remoteSnapshot(version, files);
  }

  readonly open: OpenRemote = (remote) => {
    this.opened.push(remote);
    return Promise.resolve({
      read: async (previous) => {
        this.reads.push(previous);
        await this.onRead();
        return previous === this.snapshot.version ? null : this.snapshot;
      },
    });
  };
}

export function remoteSnapshot(
  version: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): RemoteSnapshot {
  const encoder = new TextEncoder();
  const made = Object.entries(files).map(([path, content]): [string, RemoteFile] => {
    const bytes = typeof content === "string" ? encoder.encode(content) : content;
    return [path, { ...snapshotFile(path, path, bytes), digest: `layer of ${path}` }];
  });
  return {
    version,
    commit: `commit ${version}`,
    digest: `manifest ${version}`,
    files: new Map(made),
    problems: [],
  };
}

export interface Made {
  /** Events of one run, all done unless told. */
  sync(event?: FlowEvent): Promise<FlowEvent[]>;
  output(signal?: AbortSignal): Promise<Output>;
  close(): Promise<void>;
}

/** Makes a task over services, which keep their store from one to the next. */
export async function make(
  // deno-lint-ignore no-explicit-any
  definition: AsyncDefinition<any>,
  config: unknown,
  services: Partial<Services>,
  { name, clock }: { name?: string; clock?: TestClock } = {},
): Promise<Made> {
  const context = testContext(definition, config, { services, name, clock });
  const run = await definition.create(context);
  const output = async (event = testEvent({}), signal?: AbortSignal) =>
    await run(event, testCall(() => {}, signal && { signal }));
  return {
    output: (signal) => output(undefined, signal),
    async sync(event) {
      return await done(await output(event));
    },
    async close() {
      for (const close of context.closers.toReversed()) await close();
    },
  };
}

/** The events of an output, which all end well. */
export async function done(output: Output): Promise<FlowEvent[]> {
  const events = await outputs(output);
  if (output !== null && "settled" in output) output.settled({ ok: true });
  return events;
}

export const emptyStore = (clock: TestClock) => new MemoryStore({ clock });
