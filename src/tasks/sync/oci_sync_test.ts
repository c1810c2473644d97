import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import { testContext } from "../../flow/testing.ts";
import { ociSync } from "./oci_sync.ts";
import { BINARY, emptyStore, FakeRemote, make } from "./testing.ts";

const ARTIFACT = "host/flows:main";

function setUp() {
  const clock = new TestClock();
  const remote = new FakeRemote("1", { "a.sql": "one", "x.bin": BINARY });
  return {
    clock,
    remote,
    services: { clock, runtimeStore: emptyStore(clock), remotes: remote.open },
  };
}

Deno.test("oci_sync says of each file which layer and which artifact it is from", async () => {
  const { clock, services } = setUp();
  const task = await make(ociSync, { artifact: ARTIFACT }, services, { clock });
  const [text, binary] = await task.sync();
  const artifact_digest = "manifest 1";
  assert.deepEqual(text!.data, {
    path: "a.sql",
    digest: "layer of a.sql",
    artifact_digest,
    content: "one",
  });
  const { correlation_id: _, ...meta } = binary!.meta;
  assert.deepEqual(meta, { path: "x.bin", digest: "layer of x.bin", artifact_digest });
  assert.equal(await task.output(), null);
  await task.close();
});

Deno.test("oci_sync gives a snapshot with the digest of its manifest", async () => {
  const { clock, services } = setUp();
  const task = await make(ociSync, { artifact: ARTIFACT, emit: "snapshot" }, services, { clock });
  const [event] = await task.sync();
  const { version, artifact_digest } = event!.data as Record<string, unknown>;
  assert.deepEqual([version, artifact_digest], ["1", "manifest 1"]);
  await task.close();
});

Deno.test("the artifact, its login and its key are what the fields say", async () => {
  const { clock, remote, services } = setUp();
  const context = testContext(ociSync, {
    artifact: "host/flows",
    semver: "1.x",
    platform: "linux/arm64",
    plain_http: true,
    credentials_path: "login.json",
    verify: { cosign_key_path: "cosign.pub" },
    max_total_size: 1_000,
  }, { clock, services });
  await ociSync.create({ ...context, credentials: (path) => `/run/secrets/${path}` });
  assert.deepEqual(JSON.parse(JSON.stringify(remote.opened[0])), {
    oci: { artifact: "host/flows", semver: "1.x", platform: "linux/arm64", plain_http: true },
    credentials_path: "/run/secrets/login.json",
    verify: { cosign_key_path: "/run/secrets/cosign.pub" },
    limits: { max_file_size: 10_485_760, max_total_size: 1_000, max_files: 20_000 },
  });
});
