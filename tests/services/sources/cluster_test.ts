/** Three nodes that share NATS: one asks the repository, and all of them run what it holds. */
import assert from "node:assert/strict";
import { startNats } from "../nats/server.ts";
import { answers, CEILING, type Live, promptly, withScene } from "./scene.ts";

/** How long it takes until all of them answer. */
async function allAnswer(nodes: readonly Live[], text: string): Promise<number> {
  const begin = performance.now();
  await Promise.all(nodes.map((node) => node.answers("/a", text)));
  return performance.now() - begin;
}

Deno.test("three nodes follow one repository, whoever hears of a push", async () => {
  await using nats = await startNats();
  await withScene(async ({ repository, server, source, start }) => {
    const commit = (text: string) => repository.commit({ "flows/a.yaml": answers("/a", text) });
    const one = await commit("one");
    const config = {
      cache: { type: "nats", url: nats.url },
      sources: [source({ interval: "2s" })],
    };
    // Nodes that do not know the source must not be taken for those that poll it.
    for (let n = 0; n < 3; n++) await start({ cache: config.cache, sources: [] });
    const nodes = await Promise.all([start(config), start(config), start(config)]);
    await allAnswer(nodes, "one");
    const polling = () => nodes.filter((node) => node.runtime.status().sources[0]!.polls);
    await nodes[0]!.until("one of them polls", () => polling().length === 1);

    await promptly("polling every 2 s to live, three nodes", 5 * 3_000, async (attempt) => {
      await commit(`polled ${attempt}`);
      return await allAnswer(nodes, `polled ${attempt}`);
    });

    const other = nodes.find((node) => !polling().includes(node))!;
    await promptly("webhook to live, three nodes", CEILING, async (attempt) => {
      await commit(`called ${attempt}`);
      assert.equal(await other.push(), 202);
      return await allAnswer(nodes, `called ${attempt}`);
    });

    for (const node of nodes) await node.sync(); // what is under way is over
    server.seen.length = 0;
    const begin = performance.now();
    const checks = () => server.seen.filter(({ body }) => body.includes("ls-refs")).length;
    await other.until("the source is asked again and again", () => checks() >= 4);
    const took = performance.now() - begin;
    // One node takes three pauses of 1.8 s at least, two nodes have had their turns after 4 s.
    assert.ok(took > 5_000, `4 checks in ${Math.round(took)} ms`);

    assert.equal((await other.rollback(one.slice(0, 8))).active, one);
    await allAnswer(nodes, "one");
    assert.equal((await nodes[0]!.sync()).outcome, "held");

    await other.until("one of them polls", () => polling().length === 1);
    const [first] = polling();
    await first!.stop();
    const rest = nodes.filter((node) => node !== first);
    await commit("four");
    await allAnswer(rest, "four");
    await rest[0]!.until("one of the rest polls", () => {
      return rest.filter((node) => polling().includes(node)).length === 1;
    });
  });
});

Deno.test("a node that takes over a source asks it at once, however long the interval is", async () => {
  await using nats = await startNats();
  await withScene(async ({ repository, source, start }) => {
    const commit = (text: string) => repository.commit({ "flows/a.yaml": answers("/a", text) });
    await commit("one");
    const config = {
      cache: { type: "nats", url: nats.url },
      sources: [source({ interval: "1h", webhook: undefined })],
    };
    const nodes = await Promise.all([start(config), start(config)]);
    await allAnswer(nodes, "one");
    const polls = (node: Live) => node.runtime.status().sources[0]!.polls;
    await nodes[0]!.until("one of them polls", () => nodes.filter(polls).length === 1);
    await commit("two");
    const other = nodes.find((node) => !polls(node))!;
    await nodes.find(polls)!.stop();
    await other.answers("/a", "two");
  });
});
