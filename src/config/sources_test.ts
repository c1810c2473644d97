import assert from "node:assert/strict";
import type { FlowErrors } from "../core/errors.ts";
import { checkConfig } from "./load.ts";

const demo = { name: "demo", git: { url: "https://git.example/demo.git" } };

Deno.test("a source is checked every minute, whole versions only, within limits", () => {
  const [source] = checkConfig({ sources: [demo] }).sources;
  assert.equal(source!.interval, 60_000);
  assert.equal(source!.activate, "all_valid");
  assert.deepEqual(source!.limits, {
    max_file_size: 10 * 1024 ** 2,
    max_total_size: 100 * 1024 ** 2,
    max_files: 20_000,
  });
  assert.deepEqual(checkConfig({}).sources, []);
});

Deno.test("a repository's address has two names", () => {
  const git = { repository_url: "https://git.example/demo.git", branch: "main" };
  const [source] = checkConfig({ sources: [{ name: "demo", git }] }).sources;
  assert.deepEqual(source!.git, { url: "https://git.example/demo.git", branch: "main" });
});

Deno.test("paths of a source count from the folder of the configuration", () => {
  const { sources } = checkConfig({
    sources: [
      {
        ...demo,
        credentials_path: "git.json",
        webhook: { type: "github", secret_path: "/run/secret" },
        verify: { ssh_keys_path: "keys" },
      },
      {
        name: "other",
        oci: { artifact: "ghcr.io/a/b:1" },
        verify: { cosign_key_path: "cosign.pub" },
      },
    ],
  }, { file: "deploy/config.yaml" });
  assert.equal(sources[0]!.credentials_path, "deploy/git.json");
  assert.equal(sources[0]!.webhook!.secret_path, "/run/secret");
  assert.equal(sources[0]!.verify!.ssh_keys_path, "deploy/keys");
  assert.equal(sources[1]!.verify!.cosign_key_path, "deploy/cosign.pub");
});

Deno.test("two sources of one name are refused, for they would fill one workspace", () => {
  assert.throws(
    () => checkConfig({ sources: [demo, demo] }),
    (cause: FlowErrors) => cause.findings[0]!.message === "Cannot give two sources one name",
  );
});

Deno.test("variables reach into the list of sources by number, and into nested sections", () => {
  const config = checkConfig({ sources: [demo] }, {
    env: {
      FLOWGEN_SOURCES__0__GIT__BRANCH: "live",
      FLOWGEN_SOURCES__0__INTERVAL: "5m",
      FLOWGEN_FLOWS__CACHE__PREFIX: "team",
      FLOWGEN_RESOURCES__CACHE__ENABLED: "true",
    },
  });
  assert.equal(config.sources[0]!.git!.branch, "live");
  assert.equal(config.sources[0]!.git!.url, demo.git.url);
  assert.equal(config.sources[0]!.interval, 300_000);
  assert.deepEqual(config.flows.cache, {
    enabled: true,
    prefix: "team",
    db_name: "flowgen_system",
  });
  assert.equal(config.resources.cache!.prefix, "resources");
});

Deno.test("flows in the store are left alone unless the section is there and on", () => {
  assert.equal(checkConfig({}).flows.cache, undefined);
  assert.equal(checkConfig({ flows: { cache: { enabled: false } } }).flows.cache, undefined);
  assert.equal(checkConfig({ flows: { cache: {} } }).flows.cache!.enabled, true);
});
