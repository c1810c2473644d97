/** What a node with many elected flows sends and hears while none of them has anything to do. */
import { startNats, until } from "../tests/services/nats/server.ts";
import { PATIENCE, Scene } from "../tests/services/cluster/scene.ts";
import type { Size } from "./suites.ts";

const FLOWS = 1_000;
/** Milliseconds; watchers list once a minute, which is part of it. */
const OBSERVED = 60_000;
/** Milliseconds in which nothing but renewals may happen before it counts as idle. */
const SETTLED = 3_000;

const FLOW = `flow:
  require_leader_election: true
  tasks:
    - generate: { name: tick, interval: 1d }
    - log: { name: say, level: trace }
`;

/** Of one connection, counted by the server. */
interface Counted {
  readonly in_msgs: number;
  readonly out_msgs: number;
  readonly in_bytes: number;
  readonly out_bytes: number;
}

/** Starts the node; `facts` resolves after a minute, and then it is gone. */
export async function idleTraffic(size: Size): Promise<{ facts: Promise<string[]> }> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startNats());
  const scene = stack.use(await Scene.open({ url: server.url }));
  const flows = size(FLOWS);
  await scene.flows(
    Object.fromEntries(Array.from({ length: flows }, (_, i) => [`idle-${i}`, FLOW])),
  );
  await scene.start();
  await scene.seen((view) =>
    view.flows.length === flows && view.flows.every(({ owner }) => owner !== null)
  );
  await quiet(server.monitorUrl);
  const rest = stack.move();
  const facts = async () => {
    await using _all = rest;
    const [before, since] = [await counted(server.monitorUrl), performance.now()];
    await pause(size(OBSERVED));
    const after = await counted(server.monitorUrl);
    const minutes = (performance.now() - since) / 60_000;
    const rate = (of: keyof Counted) => (after[of] - before[of]) / minutes;
    const line = (way: string, messages: number, bytes: number) =>
      `node with ${flows} idle elected flows ${way} ${messages.toFixed(0)} messages, ` +
      `${(bytes / 1_000).toFixed(1)} KB per minute (renewals: 30)`;
    return [
      line("sends", rate("in_msgs"), rate("in_bytes")),
      line("hears", rate("out_msgs"), rate("out_bytes")),
    ];
  };
  return { facts: facts() };
}

/** Waits until start-up is over: a few messages at most, for a while. */
async function quiet(monitorUrl: string): Promise<void> {
  const most = SETTLED / 1_000 * 5;
  await until(
    async () => {
      const before = await counted(monitorUrl);
      await pause(SETTLED);
      const after = await counted(monitorUrl);
      return after.in_msgs - before.in_msgs <= most;
    },
    PATIENCE,
    "the node does not get quiet",
  );
}

/** The sum over the connections of the node, which are all there are. */
async function counted(monitorUrl: string): Promise<Counted> {
  const { connections } = await (await fetch(`${monitorUrl}/connz`)).json() as {
    connections: Counted[];
  };
  const sum = (of: keyof Counted) => connections.reduce((total, one) => total + one[of], 0);
  return {
    in_msgs: sum("in_msgs"),
    out_msgs: sum("out_msgs"),
    in_bytes: sum("in_bytes"),
    out_bytes: sum("out_bytes"),
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
