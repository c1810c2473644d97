import * as v from "valibot";
import { sha256Hex } from "../../core/digest.ts";
import { toFlowError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { decodeRecord, encodeRecord } from "../../flow/record.ts";
import type { Key, Store } from "../../flow/store.ts";

const Seen = v.object({ version: v.string() });

export interface SeenOptions {
  readonly store: Store;
  readonly flow: string;
  readonly task: string;
  /** Where the versions are from: what is read from elsewhere is another state. */
  readonly place: object;
  readonly log: Log;
}

/** The last version whose events were all done. */
export class SeenVersion {
  #writing: Promise<void> = Promise.resolve();
  /** Of the read whose version was written last; what was read before it is older. */
  #written = 0;

  private constructor(readonly options: SeenOptions, readonly key: Key) {}

  static async of(options: SeenOptions): Promise<SeenVersion> {
    const { flow, task, place } = options;
    const digest = await sha256Hex(JSON.stringify(place));
    return new SeenVersion(options, ["flow", flow, "sync", task, digest]);
  }

  async read(): Promise<string | null> {
    await this.idle();
    const entry = await this.options.store.get(this.key);
    return entry && decodeRecord(entry.value, Seen).version;
  }

  /** @param read Grows from read to read. What cannot be written is read and emitted again. */
  write(version: string, read: number): void {
    if (read < this.#written) return;
    this.#written = read;
    this.#writing = this.#writing.then(() => this.#write(version));
  }

  /** Resolves when nothing is being written. */
  idle(): Promise<void> {
    return this.#writing;
  }

  async #write(version: string): Promise<void> {
    const { store, log } = this.options;
    try {
      await store.put(this.key, encodeRecord({ version }));
    } catch (cause) {
      const { code, message } = toFlowError(cause);
      log.warning("A version could not be remembered, so it comes again", { code, error: message });
    }
  }
}
