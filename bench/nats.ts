/**
 * `deno task bench:nats [stream|slow|store|cluster …] [--scale=0.1]`: what goes through NATS, beside
 * the bare clients of the same run; under three minutes for all.
 */
import { benchCluster } from "./nats_cluster.ts";
import { benchSlowLeaf } from "./nats_slow.ts";
import { benchNatsStore } from "./nats_store.ts";
import { benchStreams } from "./nats_stream.ts";
import { runSuites } from "./suites.ts";

await runSuites({
  stream: benchStreams,
  slow: benchSlowLeaf,
  store: benchNatsStore,
  cluster: benchCluster,
});
