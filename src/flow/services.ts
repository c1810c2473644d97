import type { Random } from "../core/random.ts";
import type { Clock } from "../core/clock.ts";
import type { Cluster } from "./cluster.ts";
import type { NatsOptions } from "../nats/options.ts";
import type { Endpoints } from "./http.ts";
import type { Queues } from "./queue.ts";
import type { OpenRemote } from "./remote.ts";
import type { Resources } from "./resource.ts";
import type { Scheduler } from "./scheduler.ts";
import type { ScriptEngines } from "./script.ts";
import type { Store } from "./store.ts";
import type { Workspaces } from "./workspace.ts";

/** What the runtime lends to tasks. Tasks never construct these themselves. */
export interface Services {
  readonly clock: Clock;
  readonly random: Random;
  /** State of flows and scripts; flow-owned keys start with `["flow", <identity>]`. */
  readonly runtimeStore: Store;
  /** Durable queues, which flows share by name. */
  readonly queues: Queues;
  readonly scheduler: Scheduler;
  readonly scripts: ScriptEngines;
  readonly endpoints: Endpoints;
  readonly resources: Resources;
  readonly cluster: Cluster;
  /** Published flows and resources. Left out where a runtime has none, such as when it only checks. */
  readonly workspaces?: Workspaces;
  /** Opens Git repositories and OCI artifacts. */
  readonly remotes: OpenRemote;
  /** The server that the runtime itself uses, for tasks that name none. */
  readonly nats?: NatsOptions;
}
