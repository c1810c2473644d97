import type { Clock } from "../core/clock.ts";
import { sha256Hex } from "../core/digest.ts";
import { FlowError } from "../core/errors.ts";
import { checkResourceKey } from "../flow/resource_key.ts";
import type { ResourceFile, Resources } from "../flow/resource.ts";
import { snapshotFile } from "../flow/snapshot_file.ts";
import type { SnapshotFile, Source } from "../flow/source.ts";
import type { Store } from "../flow/store.ts";
import type { FlowSnapshot } from "../reconcile/load_flows.ts";
import { coalesced } from "./nudges.ts";

export interface StoreFlowsOptions {
  /** The system store, or the one that `db_name` names. */
  readonly store: Store;
  /** First part of the keys: `flows.cache.prefix` or `resources.cache.prefix`. */
  readonly prefix: string;
  readonly clock: Clock;
}

/**
 * Flows that other tools write one by one, each as YAML or JSON text under `[prefix, identity]`; with
 * NATS that is `flows.demo/reader`. An identity is taken as it is, with no extension to leave out.
 */
export class StoreFlows implements Source {
  constructor(readonly options: StoreFlowsOptions) {}

  async read(previous: string | null, signal?: AbortSignal): Promise<FlowSnapshot | null> {
    const { store, prefix } = this.options;
    const files = new Map<string, SnapshotFile>();
    const revisions: [string, string][] = [];
    for await (const { key, value, revision } of store.list([prefix])) {
      signal?.throwIfAborted();
      const [, identity] = key;
      if (identity === undefined || key.length > 2) continue;
      // The extension is what `identityOfPath` takes away again.
      const path = `${identity}.yaml`;
      files.set(path, snapshotFile(path, `${prefix}.${identity}`, value));
      revisions.push([identity, revision]);
    }
    const version = await sha256Hex(JSON.stringify(revisions));
    if (version === previous) return null;
    return { version, files, resources: new Map(), problems: [] };
  }

  watch(signal: AbortSignal): AsyncIterable<void> {
    return watchPrefix(this.options, signal);
  }
}

/** Resources that other tools write one by one, as bytes under `[prefix, key]`. */
export class StoreResources implements Resources {
  constructor(readonly options: StoreFlowsOptions) {}

  /** @throws {FlowError} `resource.missing`, `resource.key_invalid` */
  async read(key: string): Promise<ResourceFile> {
    const { store, prefix } = this.options;
    checkResourceKey(key);
    const file = `${prefix}.${key}`;
    const entry = await store.get([prefix, key]);
    if (entry) return { file, bytes: entry.value };
    throw new FlowError("resource.missing", `Cannot find the resource "${key}" in the store`, {
      hint: `write it under ${file}, or below resources.path`,
    });
  }

  watch(signal: AbortSignal): AsyncIterable<void> {
    return watchPrefix(this.options, signal);
  }
}

function watchPrefix({ store, prefix, clock }: StoreFlowsOptions, signal: AbortSignal) {
  return coalesced(store.watch([prefix], signal), { clock, signal });
}
