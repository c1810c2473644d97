import { seededRandom } from "../../../src/core/random.ts";
import { startNats } from "../nats/server.ts";
import { pipeline } from "./pipeline.ts";
import { Scene } from "./scene.ts";

Deno.test("no acknowledged message is lost or stored twice, whoever is killed", async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  await using server = await startNats({ sync: true });
  await using scene = await Scene.open({ url: server.url });
  const result = await pipeline(scene, server, {
    messages: 100_000,
    every: 1_500,
    mostKills: 50,
    chance: () => random.next(),
  });
  console.log(JSON.stringify(result));
});
