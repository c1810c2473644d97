/** A network that is parted, where there are root and iproute2 to make one. */
import { seededRandom } from "../../../src/core/random.ts";
import { Net } from "./net.ts";
import { partAgainAndAgain, PartedScene } from "./partition.ts";
import { distribution } from "./times.ts";

// Left out rather than skipped: elsewhere it says nothing of the code.
if (await Net.isPossible()) {
  Deno.test("whoever is parted from whom, no two nodes run one flow, and all run when it is healed", async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    console.log(`seed ${seed}`);
    const random = seededRandom(seed);
    await using parted = await PartedScene.open("1.5s");
    // The owner, the leader of the store, both together, and any.
    const took = await partAgainAndAgain(parted, { times: 4, chance: () => random.next() });
    console.log(distribution("network healed, all runs", took));
  });
}
