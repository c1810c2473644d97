import assert from "node:assert/strict";
import { FlowError } from "../core/errors.ts";
import type { Published } from "../flow/workspace.ts";
import { type Control, controlApp } from "./control.ts";

const PUBLISHED: Published = {
  workspace: "demo",
  version: "2",
  outcome: "activated",
  active: "2",
  findings: [],
};

/** An app over what a test gives, and what it was asked to do. */
function setUp(some: Partial<Control> = {}) {
  const asked: unknown[] = [];
  const app = controlApp({
    status: () => ({ flows: [] }),
    workspaces: () => Promise.resolve([{ name: "demo", active: "1", versions: [] }]),
    rollback(...args) {
      asked.push(["rollback", ...args]);
      return Promise.resolve(PUBLISHED);
    },
    remove(...args) {
      asked.push(["remove", ...args]);
      return Promise.resolve();
    },
    sources: () => [{ name: "demo" }],
    sync(...args) {
      asked.push(["sync", ...args]);
      return Promise.resolve(PUBLISHED);
    },
    ...some,
  });
  const post = async (path: string, body?: unknown) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await app.request(path, { method: "POST", body: text });
    return [response.status, await response.json()];
  };
  return { app, asked, post };
}

Deno.test("the control app gives status, workspaces and sources as JSON", async () => {
  const { app } = setUp();
  const get = async (path: string) => await (await app.request(path)).json();
  assert.deepEqual(await get("/status"), { flows: [] });
  assert.deepEqual(await get("/workspaces"), [{ name: "demo", active: "1", versions: [] }]);
  assert.deepEqual(await get("/sources"), [{ name: "demo" }]);
  assert.equal((await app.request("/restart")).status, 404);
  assert.equal((await app.request("/sources/demo/sync")).status, 404, "only POST does something");
});

Deno.test("a rollback goes to the version that is named, or to the one before", async () => {
  const { asked, post } = setUp();
  assert.deepEqual(await post("/workspaces/demo/rollback"), [200, PUBLISHED]);
  assert.deepEqual(await post("/workspaces/demo/rollback", { version: "1" }), [200, PUBLISHED]);
  assert.deepEqual(asked, [["rollback", "demo", undefined], ["rollback", "demo", "1"]]);
});

Deno.test("a workspace is removed by its name", async () => {
  const { asked, post } = setUp();
  assert.deepEqual(await post("/workspaces/demo/remove", {}), [200, {}]);
  assert.deepEqual(asked, [["remove", "demo"]]);
});

Deno.test("a source is checked, forced where asked for", async () => {
  const { asked, post } = setUp();
  await post("/sources/demo/sync");
  await post("/sources/demo/sync", { force: true });
  assert.deepEqual(asked, [["sync", "demo", { force: false }], ["sync", "demo", { force: true }]]);
});

Deno.test("what fails is told with code and hint, 503 where trying again can help", async () => {
  const failing = (code: string) =>
    setUp({ sync: () => Promise.reject(new FlowError(code, "It broke", { hint: "mend it" })) });
  assert.deepEqual(await failing("source.auth_failed").post("/sources/demo/sync"), [422, {
    error: { code: "source.auth_failed", message: "It broke", hint: "mend it" },
  }]);
  assert.equal((await failing("source.unavailable").post("/sources/demo/sync"))[0], 503);
});

Deno.test("a body of another version of the command is refused", async () => {
  const { asked, post } = setUp();
  const [status, { error }] = await post("/sources/demo/sync", { froce: true });
  assert.deepEqual([status, error.code], [422, "control.body_invalid"]);
  assert.deepEqual(asked, []);
});
