import { openNatsKv } from "../../../src/store/nats_kv.ts";
import { testStore } from "../../../src/store/testing.ts";
import type { Store } from "../../../src/flow/store.ts";
import { endWithTests, startNats, startNatsCluster } from "./server.ts";

const single = await startNats();
const small = await startNats({ maxPayload: 64 * 1024 });
const cluster = await startNatsCluster();
endWithTests(single, small, ...cluster.servers);

let buckets = 0;

function testDriver(name: string, url: string, replicas: number): void {
  const bucketOf = new WeakMap<Store, string>();
  testStore(name, async ({ clock }) => {
    const bucket = `b${++buckets}`;
    const store = await openNatsKv({ nats: { url }, bucket, replicas, clock });
    bucketOf.set(store, bucket);
    return store;
  }, {
    second: (first, { clock }) => {
      const bucket = bucketOf.get(first)!;
      // Written otherwise, so that it is a connection of its own.
      return openNatsKv({ nats: { url: url.replaceAll("127.0.0.1", "localhost") }, bucket, clock });
    },
  });
}

testDriver("nats_kv", single.url, 1);
testDriver("nats_kv with values in parts", small.url, 1);
testDriver("nats_kv with three replicas", cluster.url, 3);
