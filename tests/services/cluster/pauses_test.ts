/** Owners that come back after others have taken over. */
import { startNats } from "../nats/server.ts";
import { Link } from "./link.ts";
import { Population } from "./population.ts";
import { Scene } from "./scene.ts";

const NODES = 3;
const LEASE = "1.5s";
/** Milliseconds; of the wall clock. */
const HOUR = 3_600_000;

Deno.test("an owner that was stopped for three leases starts nothing more, and its write is refused", async () => {
  await using server = await startNats();
  await using scene = await Scene.open({ url: server.url, lease: LEASE });
  await scene.startAll(NODES);
  const flows = await Population.in(scene);
  const { owner, held } = await flows.ownerAboutToWrite();
  const from = performance.now();
  owner.pause();
  console.log(`SIGSTOP: runs elsewhere after ${await flows.takenOver(owner, from)} ms`);
  await new Promise((resolve) => setTimeout(resolve, from + 3 * scene.lease - performance.now()));
  owner.resume();
  await flows.refused(held);
  await flows.wellAgain(owner);
});

Deno.test("an owner whose connection alone is cut starts nothing more, and its write is refused", async () => {
  await using server = await startNats();
  await using links = new AsyncDisposableStack();
  await using scene = await Scene.open({ url: server.url, lease: LEASE });
  const linkOf = new Map<number, Link>();
  await Promise.all(Array.from({ length: NODES }, async () => {
    const link = links.use(new Link(server.port));
    const { pid } = await scene.start({ url: link.url });
    linkOf.set(pid, link);
  }));
  const flows = await Population.in(scene);
  for (const way of ["cut", "silence"] as const) {
    const { owner, held } = await flows.ownerAboutToWrite();
    const link = linkOf.get(owner.pid)!;
    const from = performance.now();
    link[way]();
    console.log(`${way}: runs elsewhere after ${await flows.takenOver(owner, from)} ms`);
    link.open();
    await flows.refused(held);
    await flows.wellAgain(owner);
  }
});

Deno.test("with watches that lag, a killed node's flows go on and no two run at once", async () => {
  await using server = await startNats();
  await using links = new AsyncDisposableStack();
  await using scene = await Scene.open({ url: server.url, lease: LEASE });
  const all = await Promise.all(Array.from({ length: NODES }, async () => {
    const link = links.use(new Link(server.port));
    return { link, node: await scene.start({ url: link.url }) };
  }));
  const flows = await Population.in(scene);
  const { owner, held } = await flows.ownerAboutToWrite();
  held.release();
  for (const [at, { link }] of all.entries()) link.lag = scene.lease * (0.1 + 0.1 * at);
  await scene.alive(flows.all);
  const from = performance.now();
  const taken = flows.takenOver(owner, from);
  await owner.kill();
  console.log(`lagging watches: runs elsewhere after ${await taken} ms`);
  for (const { link } of all) link.lag = 0;
  await flows.wellAgain(scene.running[0]!);
});

Deno.test("wall clocks that step forth and back stop nobody for long, and let no two run at once", async () => {
  await using server = await startNats();
  await using scene = await Scene.open({ url: server.url, lease: LEASE });
  await scene.startAll(NODES);
  const flows = await Population.in(scene);
  for (const step of [HOUR, -2 * HOUR]) {
    const { owner, held } = await flows.ownerAboutToWrite();
    scene.journal.stepClock(owner.pid, step);
    held.release();
    await flows.wellAgain(owner);
    // The next owner's epoch must be above one that an hour ahead gave.
    const from = performance.now();
    const taken = flows.takenOver(owner, from);
    await owner.kill();
    console.log(`clock stepped, killed: runs elsewhere after ${await taken} ms`);
    await flows.wellAgain(await scene.start());
  }
});
