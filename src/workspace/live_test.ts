/** From a published version to flows that run, with everything in between but a runtime. */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import { silentLog } from "../core/log.ts";
import { seededRandom } from "../core/random.ts";
import { DEFAULT_RETRY } from "../engine/retry.ts";
import { listedEnv, wholeEnv } from "../flow/env.ts";
import { snapshotFile } from "../flow/snapshot_file.ts";
import type { Source } from "../flow/source.ts";
import { defineTask } from "../flow/task.ts";
import { testServices } from "../flow/testing.ts";
import { credentialsFor } from "../reconcile/credentials.ts";
import { FlowLoader } from "../reconcile/load_flows.ts";
import { FlowSources, RANK } from "../reconcile/flow_sources.ts";
import { Reconciler } from "../reconcile/reconciler.ts";
import { FileResources } from "../source/file_resources.ts";
import { StoreFlows } from "./store_flows.ts";
import { setUp as setUpStore, snapshotOf, until } from "./testing.ts";
import { Discovery } from "./discovery.ts";

/** What flows have read when they were made, by identity. */
const made = new Map<string, string>();

const probe = defineTask({
  type: "probe",
  mode: "source",
  summary: "",
  config: v.strictObject({
    text: v.optional(v.string()),
    resource: v.optional(v.string()),
    credentials: v.optional(v.string()),
  }),
  examples: [],
  async create({ config, services, credentials, flow }) {
    const { text, resource, credentials: path } = config;
    const read = resource && (await services.resources.read(resource)).bytes;
    made.set(
      flow,
      read ? new TextDecoder().decode(read) : path ? credentials(path) : text ?? "made",
    );
    return {
      run: ({ signal }) =>
        new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
    };
  },
});
const definitions = new Map([["probe", probe]]);
const flow = (fields = "text: x") => `flow:\n  tasks:\n    - probe: { name: in, ${fields} }\n`;

function setUp(files: Record<string, string> = {}) {
  const given = setUpStore();
  const { clock, store } = given;
  made.clear();
  const services = testServices({
    clock,
    random: seededRandom(1),
    resources: new FileResources("/nowhere/files"),
  });
  const reconciler = new Reconciler({
    services,
    log: silentLog,
    retry: DEFAULT_RETRY,
    credentials: credentialsFor("/run/secrets"),
  });
  const ended = new AbortController();
  const applied: number[] = [];
  const sources = new FlowSources({
    reconciler: {
      apply(wanted) {
        applied.push(wanted.length);
        return reconciler.apply(wanted);
      },
    },
    clock,
    random: seededRandom(1),
    log: silentLog,
    signal: ended.signal,
  });
  const variables: Record<string, string> = { LISTED: "listed", SECRET: "secret" };
  const env = (name: string) => variables[name];
  const loader = (source: string) =>
    new FlowLoader(source, {
      definitions,
      env: listedEnv(env, ["LISTED", "MISSING"]),
      resources: new FileResources(undefined),
      services,
      outside: true,
    });
  const disk: Source = {
    read() {
      const found = Object.entries(files).map(([path, text]) =>
        [path, snapshotFile(path, path, new TextEncoder().encode(text))] as const
      );
      return Promise.resolve({ version: "", files: new Map(found), problems: [] });
    },
  };
  const trusted = new FlowLoader("files", {
    definitions,
    env: wholeEnv(env),
    resources: services.resources,
    services,
  });
  const add = (name: string, rank: number) =>
    sources.add({
      rank,
      source: given.reader(name),
      beside: [],
      loader: loader(`workspace:${name}`),
    });
  sources.add({ rank: RANK.files, source: disk, beside: [], loader: trusted });
  add("demo", RANK.configured);
  const keys = new StoreFlows({ store, prefix: "flows", clock });
  sources.add({ rank: RANK.keys, source: keys, beside: [], loader: loader("store") });
  const states = () =>
    Object.fromEntries(
      reconciler.status().map((one) => [one.identity, `${one.state} ${one.source}`]),
    );
  let watching: Promise<unknown> = Promise.resolve();
  return {
    ...given,
    sources,
    applied,
    states,
    /** Moves the clock on until the flows are in these states. */
    become: (wanted: Record<string, string>) =>
      until(async () => {
        await clock.advance(10);
        return isDeepStrictEqual(states(), wanted);
      }),
    reconciler,
    watch: () => void (watching = Promise.all([watching, sources.watch()])),
    discover: () => {
      const discovery = new Discovery({
        store,
        clock,
        log: silentLog,
        signal: ended.signal,
        known: ["demo"],
        found: (name) => add(name, RANK.published),
      });
      watching = Promise.all([watching, discovery.watch()]);
    },
    async end() {
      ended.abort();
      await clock.advance(10_000);
      await watching;
      await reconciler.stop(0);
    },
  };
}

Deno.test("at the start the version in the store runs, whatever its source does", async () => {
  const { publish, sources, states, end } = setUp();
  await publish("1", { "flows/a.yaml": flow(), "flows/b.yaml": flow() });
  await sources.load();
  assert.deepEqual(states(), { a: "running workspace:demo", b: "running workspace:demo" });
  await end();
});

Deno.test("a version switches as one step, soon after it was published", async () => {
  const { publish, sources, applied, become, watch, end } = setUp();
  await publish("1", { "flows/a.yaml": flow(), "flows/b.yaml": flow() });
  await sources.load();
  watch();
  await until(() => applied.length === 3); // the first nudges, of what may have changed before
  applied.length = 0;
  await publish("2", { "flows/b.yaml": flow("text: new"), "flows/c.yaml": flow() });
  await become({ b: "running workspace:demo", c: "running workspace:demo" });
  assert.deepEqual(applied, [2]);
  assert.equal(made.get("b"), "new");
  await end();
});

Deno.test("of files, workspaces and single keys each runs what no one before it has", async () => {
  const { publish, sources, states, store, end } = setUp({ "a.yaml": flow() });
  await publish("1", { "flows/a.yaml": flow(), "flows/b.yaml": flow() });
  for (const identity of ["a", "b", "c"]) {
    await store.put(["flows", identity], new TextEncoder().encode(flow()));
  }
  await sources.load();
  assert.deepEqual(states(), {
    a: "running files",
    b: "running workspace:demo",
    c: "running store",
  });
  const shadowed = sources.shadowed().map(({ identity, source }) => `${identity} of ${source}`);
  assert.deepEqual(shadowed, ["a of workspace:demo", "a of store", "b of store"]);
  assert.notEqual(await store.get(["flows", "a"]), null, "nobody's data is deleted");
  await end();
});

Deno.test("flows from outside reach their own resources, and credentials below the root", async () => {
  const { publish, sources, reconciler, end } = setUp();
  await publish("1", {
    "flows/allowed.yaml": flow("credentials: git.json"),
    "flows/escapes.yaml": flow("credentials: /etc/shadow"),
    "flows/own.yaml": flow("resource: q.sql"),
    "flows/listed.yaml": flow("text: '{{env.LISTED}}'"),
    "flows/secret.yaml": flow("text: '{{env.SECRET}}'"),
    "resources/q.sql": "select 1",
  });
  await sources.load();
  assert.deepEqual(Object.fromEntries(made), {
    allowed: "/run/secrets/git.json",
    own: "select 1",
    listed: "listed",
  });
  const errors = reconciler.status().flatMap(({ identity, error }) =>
    error ? [[identity, error.code]] : []
  );
  assert.deepEqual(errors, [
    ["escapes", "flow.credentials_not_allowed"],
    ["secret", "config.env_not_allowed"],
  ]);
  await end();
});

Deno.test("the same flow in a file sees the whole environment and names any credentials", async () => {
  const { sources, end } = setUp({
    "escapes.yaml": flow("credentials: /etc/shadow"),
    "secret.yaml": flow("text: '{{env.SECRET}}'"),
  });
  await sources.load();
  assert.deepEqual(Object.fromEntries(made), { escapes: "/etc/shadow", secret: "secret" });
  await end();
});

Deno.test("a flow that moves from the files into a workspace is made again, with less reach", async () => {
  const files: Record<string, string> = { "a.yaml": flow("credentials: /etc/shadow") };
  const { publish, sources, states, reconciler, end } = setUp(files);
  await publish("1", { "flows/a.yaml": files["a.yaml"]! });
  await sources.load();
  assert.deepEqual(states(), { a: "running files" });
  delete files["a.yaml"];
  await sources.load();
  assert.equal(reconciler.status()[0]!.error!.code, "flow.credentials_not_allowed");
  await end();
});

Deno.test("a node that lacks a variable says so, and changes nothing that others see", async () => {
  const { publish, sources, workspaces, states, end } = setUp();
  await publish("1", { "flows/a.yaml": flow("text: '{{env.MISSING}}'"), "flows/b.yaml": flow() });
  const before = await workspaces.list();
  await sources.load();
  assert.deepEqual(states(), { a: "invalid workspace:demo", b: "running workspace:demo" });
  assert.deepEqual(await workspaces.list(), before);
  await end();
});

Deno.test("a workspace that a flow publishes is found by itself", async () => {
  const { workspaces, sources, become, watch, discover, end } = setUp();
  await sources.load();
  watch();
  discover();
  await workspaces.publish("other", snapshotOf("1", { "flows/o.yaml": flow() }));
  await become({ o: "running workspace:other" });
  await workspaces.publish("other", snapshotOf("2", { "flows/p.yaml": flow() }));
  await become({ p: "running workspace:other" });
  await end();
});
