import type { TaskDefinition } from "../../flow/task.ts";
import { natsCorePublisher } from "./core_publisher.ts";
import { natsCoreSubscriber } from "./core_subscriber.ts";
import { natsJetstreamPublisher } from "./jetstream_publisher.ts";
import { natsJetstreamSubscriber } from "./jetstream_subscriber.ts";
import { natsKvStore } from "./kv_store.ts";
import { natsObjectStore } from "./object_store.ts";
import { natsRequest } from "./request.ts";

/** Task types of NATS. */
export const natsTasks: readonly TaskDefinition[] = [
  natsCorePublisher,
  natsCoreSubscriber,
  natsJetstreamPublisher,
  natsJetstreamSubscriber,
  natsKvStore,
  natsObjectStore,
  natsRequest,
];
