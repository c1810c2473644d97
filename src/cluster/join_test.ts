import assert from "node:assert/strict";
import { settle, TestClock } from "../core/clock.ts";
import { silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import type { Candidate, Term } from "../flow/cluster.ts";
import type { Store } from "../flow/store.ts";
import { MemoryStore } from "../store/memory.ts";
import { type ClusterNode, joinCluster } from "./join.ts";

function setUp() {
  const clock = new TestClock();
  const store = new MemoryStore({ clock });
  let ids = 0;
  const join = (own: Store = store) =>
    joinCluster({
      store: own,
      clock,
      random: seededRandom(1),
      log: silentLog,
      version: "1.0.0",
      host: "test",
      lease: 6_000,
      renew: 2_000,
      newId: () => `node-${ids++}`,
    });
  return { clock, store, join };
}

class Runner implements Candidate {
  term: Term | null = null;
  calls: string[] = [];
  start(term: Term) {
    this.term = term;
    this.calls.push("start");
  }
  drain() {
    this.calls.push("drain");
    this.term = null;
    return Promise.resolve();
  }
  lose() {
    this.calls.push("lose");
    this.term = null;
    return Promise.resolve();
  }
}

function stand(node: ClusterNode, count: number) {
  return Array.from({ length: count }, (_, i) => {
    const runner = new Runner();
    return { runner, candidacy: node.stand(`demo/${i}`, runner), flow: `demo/${i}` };
  });
}
type Standing = ReturnType<typeof stand>;
const running = (all: Standing) => all.filter(({ runner }) => runner.term?.mayRun());

Deno.test("three nodes share fifty flows evenly, each flow on one of them", async () => {
  const { clock, join } = setUp();
  const nodes = [await join(), await join(), await join()];
  const all = nodes.map((node) => stand(node, 50));
  await clock.advance(60_000);
  const shares = all.map((flows) => running(flows).length);
  console.log(shares);
  assert.equal(shares[0]! + shares[1]! + shares[2]!, 50);
  for (const node of nodes) await node.leave();
});

Deno.test("x", async () => {
  const { clock, join } = setUp();
  const a = await join();
  const flows = stand(a, 50);
  await settle(10);
  console.log(running(flows).length, a.view().nodes);
  const b = await join();
  const bf = stand(b, 50);
  await clock.advance(10_000);
  console.log(running(flows).length, running(bf).length, a.view().nodes);
  await clock.advance(40_000);
  console.log(running(flows).length, running(bf).length);
  for (const { candidacy } of flows) await candidacy.withdraw();
  await settle(10);
  console.log(running(flows).length, running(bf).length);
  await a.leave();
  await b.leave();
});
