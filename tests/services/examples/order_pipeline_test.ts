import assert from "node:assert/strict";
import { join } from "node:path";
import { startNats } from "../nats/server.ts";
import { Program } from "./program.ts";

const ROOT = join(import.meta.dirname!, "../../..");

interface Listed {
  readonly entries: readonly { readonly key: string; readonly value: unknown }[];
}

Deno.test("the example of an order pipeline ships orders once, and keeps aside what it cannot ship", async () => {
  await using server = await startNats();
  const folder = await Deno.makeTempDir({ prefix: "flowgen-orders-" });
  try {
    await using program = new Program([
      "run",
      `--config=${join(ROOT, "deno.json")}`,
      "--allow-all",
      join(ROOT, "src/main.ts"),
      "run",
      "--config",
      join(ROOT, "examples/order_pipeline/config.yaml"),
      "--json",
    ], {
      FLOWGEN_CACHE__URL: server.url,
      FLOWGEN_HTTP_SERVER__PORT: "0",
      FLOWGEN_HEALTH__PORT: "0",
      FLOWGEN_CONTROL__PATH: join(folder, "control.sock"),
    });
    const [, port] = await program.line(/"message":"Running".*"http_port":(\d+)/);
    const base = `http://127.0.0.1:${port}/orders`;
    const order = async (body: object) => {
      const headers = { "content-type": "application/json" };
      const response = await fetch(base, { method: "POST", headers, body: JSON.stringify(body) });
      return [response.status, await response.json()];
    };
    const tea = { id: "A-1", sku: "tea", quantity: 2 };
    const [status, stored] = await order(tea);
    assert.deepEqual([status, stored.stream, stored.duplicate], [200, "ORDERS", false]);
    const [, again] = await order(tea);
    assert.equal(again.duplicate, true);
    await order({ id: "A-2", sku: "tea", quantity: 0 });
    const shipped = await program.json<Listed>(
      `${base}/shipped`,
      ({ entries }) => entries.length > 0,
    );
    assert.deepEqual(shipped.entries.map(({ key, value }) => [key, value]), [
      ["shipped/A-1", "2 x tea"],
    ]);
    const dead = await program.json<Listed>(`${base}/dead`, ({ entries }) => entries.length > 0);
    const [letter] = dead.entries;
    assert.equal(letter!.key, "dead/A-2");
    assert.match(JSON.stringify(letter!.value), /cannot ship 0 of tea/);
    assert.equal(await program.stop(), 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
