import { FlowError } from "../core/errors.ts";
import { checkResourceKey } from "../flow/resource_key.ts";
import type { ResourceFile, Resources } from "../flow/resource.ts";
import type { FlowSnapshot } from "./load_flows.ts";

/**
 * What a flow of a snapshot reads: files of its own snapshot first, then those that all flows share.
 * Which snapshot that is may move on while the flow runs, as long as the flow itself stays the same.
 */
export class SnapshotResources implements Resources {
  /** @param shared `resources.path`, then `resources.cache`. */
  constructor(readonly snapshot: () => FlowSnapshot, readonly shared: Resources) {}

  /** @throws {FlowError} `resource.missing`, `resource.key_invalid`, `resource.unreadable` */
  async read(key: string): Promise<ResourceFile> {
    checkResourceKey(key);
    const own = this.snapshot().resources?.get(key);
    if (own) return { file: own.file, bytes: own.bytes() };
    try {
      return await this.shared.read(key);
    } catch (cause) {
      // That there is no shared folder is no mistake of a flow that brings its own files.
      if (!(cause instanceof FlowError && cause.code === "resource.not_configured")) throw cause;
      throw new FlowError("resource.missing", `Cannot find the resource "${key}"`, {
        hint: "put it below resources/ beside the flows, or set resources.path in config.yaml",
        cause,
      });
    }
  }
}
