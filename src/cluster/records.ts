import type * as v from "valibot";
import type { Clock } from "../core/clock.ts";
import { FlowError, textOf } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { decodeRecord, encodeRecord } from "../flow/record.ts";
import type { Entry, Key, Revision, Store } from "../flow/store.ts";
import {
  ClaimRecord,
  CLAIMS,
  NodeRecord,
  NODES,
  type Read,
  type Seen,
  type Written,
} from "./record.ts";

/** Records of nodes that ended are kept until nobody can ask about them any more. */
const KEPT = 3_600_000;

/** Milliseconds until a list that does not end counts as not answered. */
const LONGEST_LIST = 60_000;

export interface RecordsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds until a read or write counts as not answered. */
  readonly patience: number;
}

/**
 * The cluster's part of a store. A store that does not answer is no error here but `undefined`: the
 * protocol goes on, and the log says so once.
 */
export class Records {
  readonly #options: RecordsOptions;
  readonly #store: Store;
  #silent = false;

  constructor(options: RecordsOptions) {
    this.#options = options;
    this.#store = options.store;
  }

  writeNode(id: string, record: NodeRecord, seen: Revision | null): Promise<Written> {
    const expiry = record.state === "live" ? undefined : { ttl: KEPT };
    const [key, value] = [[...NODES, id], encodeRecord(record)];
    return this.#ask(() =>
      seen === null
        ? this.#store.create(key, value, expiry)
        : this.#store.update(key, value, seen, expiry)
    );
  }

  readNode(id: string): Promise<Read<NodeRecord>> {
    return this.#ask(async () => this.#node(await this.#store.get([...NODES, id])));
  }

  /** Nodes by id; `undefined` when the store does not answer. */
  listNodes(): Promise<Map<string, Seen<NodeRecord>> | undefined> {
    return this.#list(NODES, (entry) => this.#node(entry));
  }

  writeClaim(flow: string, record: ClaimRecord, seen: Revision | null): Promise<Written> {
    const [key, value] = [[...CLAIMS, flow], encodeRecord(record)];
    return this.#ask(() =>
      seen === null ? this.#store.create(key, value) : this.#store.update(key, value, seen)
    );
  }

  readClaim(flow: string): Promise<Read<ClaimRecord>> {
    return this.#ask(async () => this.#claim(await this.#store.get([...CLAIMS, flow])));
  }

  /** Claims by flow; `undefined` when the store does not answer. */
  listClaims(): Promise<Map<string, Seen<ClaimRecord>> | undefined> {
    return this.#list(CLAIMS, (entry) => this.#claim(entry));
  }

  #list<R>(room: Key, read: (entry: Entry) => Seen<R> | null) {
    return this.#ask(async () => {
      const found = new Map<string, Seen<R>>();
      for await (const entry of this.#store.list(room)) {
        const seen = entry.key.length === room.length + 1 ? read(entry) : null;
        if (seen) found.set(entry.key.at(-1)!, seen);
      }
      return found;
    }, LONGEST_LIST);
  }

  /** A record nobody can read may be a newer version's; it counts for as long as it moves. */
  #node(entry: Entry | null): Seen<NodeRecord> | null {
    if (!entry) return null;
    const unread = { state: "live", beat: 0, started: "", version: "", host: "" } as const;
    const { revision } = entry;
    return { record: this.#decode(entry, NodeRecord) ?? unread, revision };
  }

  /** A claim nobody can read stays with whom it belongs to: it cannot be created a second time. */
  #claim(entry: Entry | null): Seen<ClaimRecord> | null {
    const record = entry && this.#decode(entry, ClaimRecord);
    return record && { record, revision: entry.revision };
  }

  #decode<S extends v.GenericSchema>(entry: Entry, schema: S): v.InferOutput<S> | null {
    try {
      return decodeRecord(entry.value, schema);
    } catch (error) {
      this.#options.log.debug("a record of the cluster cannot be read", {
        key: entry.key.join("/"),
        error,
      });
      return null;
    }
  }

  async #ask<T>(run: () => Promise<T>, patience = this.#options.patience): Promise<T | undefined> {
    const { log } = this.#options;
    try {
      const answer = await this.#within(patience, run());
      if (this.#silent) log.info("The store answers the cluster again");
      this.#silent = false;
      return answer;
    } catch (error) {
      if (!this.#silent) {
        log.warning("The store does not answer the cluster", { error: textOf(error) });
      }
      this.#silent = true;
      return undefined;
    }
  }

  #within<T>(ms: number, answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#options.clock.after(ms, () => {
        reject(
          new FlowError("store.unavailable", `Cannot wait longer than ${ms} ms for the store`),
        );
      });
      answer.then(resolve, reject).finally(() => timer.clear());
    });
  }
}
