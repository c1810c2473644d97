/** `flowgen push` as a process, against a real registry. */
import assert from "node:assert/strict";
import { Folder } from "../../../src/cli/testing.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLog } from "../../../src/core/log.ts";
import { remoteOpener } from "../../../src/source/remote.ts";
import { PLAIN } from "../git/http_server.ts";
import { Registry } from "./registry.ts";

const FILES = { "a/flows/x.yaml": "flow: {}", "a/resources/y.sql": "select 1", "a/notes.md": "" };

const DIGEST = /^sha256:[0-9a-f]{64}$/;

async function git(folder: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("git", {
    args,
    cwd: folder,
    clearEnv: true,
    env: { ...PLAIN, GIT_COMMITTER_DATE: "2030-01-02T03:04:05Z" },
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("push prints the digest, the same for the same files", async () => {
  await using registry = await Registry.start({ auth: true });
  await using folder = await Folder.with(FILES);
  const target = `oci://${registry.host}/acme/flows`;
  const credentials = ["--credentials", await registry.credentials()];
  const first = await folder.flowgen(["push", "a", `${target}:v1`, ...credentials, "--text"]);
  assert.equal(first.stderr, "");
  const [summary, digest] = first.stdout.trim().split("\n");
  assert.match(summary!, /^Pushed 2 files \(\d+ bytes\) to 127\.0\.0\.1:\d+\/acme\/flows:v1$/);
  assert.match(digest!, DIGEST);

  await using other = await Folder.with(FILES);
  const second = await other.flowgen(["push", "a", target, ...credentials]);
  const result = JSON.parse(second.stdout);
  assert.deepEqual({ ...result, bytes: 0 }, {
    reference: `${registry.host}/acme/flows:latest`,
    digest,
    files: 2,
    bytes: 0,
    created: "1970-01-01T00:00:00Z",
    revision: null,
  });
  const manifest = await registry.oras(["manifest", "fetch", `${registry.host}/acme/flows:v1`]);
  assert.equal(JSON.parse(manifest).artifactType, "application/vnd.flowgen.workspace.v1");

  const refused = await folder.flowgen(["push", "a", `${target}:v1`]);
  assert.deepEqual([refused.code, refused.stderr.split("\n")[0]], [1, "source.auth_failed"]);
});

Deno.test("push notes the commit while the files are as committed", async () => {
  await using registry = await Registry.start();
  await using folder = await Folder.with(FILES);
  const push = async (env = {}) => {
    const target = `oci://${registry.host}/acme/flows:v1`;
    const { stdout, stderr } = await folder.flowgen(["push", "a", target], { env });
    assert.equal(stderr, "");
    const { created, revision } = JSON.parse(stdout);
    const text = await registry.oras(["manifest", "fetch", `${registry.host}/acme/flows:v1`]);
    const { annotations } = JSON.parse(text);
    assert.equal(annotations["org.opencontainers.image.created"], created);
    assert.equal(annotations["org.opencontainers.image.revision"], revision ?? undefined);
    return { created, revision };
  };
  await git(folder.path, "init", "-q");
  await git(folder.path, "add", ".");
  await git(folder.path, "commit", "-qm", "one");
  const id = await git(folder.path, "rev-parse", "HEAD");
  const committed = { created: "2030-01-02T03:04:05Z", revision: id };
  assert.deepEqual(await push(), committed);
  await Deno.writeTextFile(`${folder.path}/a/notes.md`, "not packed");
  assert.deepEqual(await push(), committed);
  await Deno.writeTextFile(`${folder.path}/a/flows/x.yaml`, "flow: { tasks: [] }");
  const changed = { created: "1970-01-01T00:00:00Z", revision: null };
  assert.deepEqual(await push(), changed);
  const env = { SOURCE_DATE_EPOCH: "86400" };
  assert.deepEqual(await push(env), { ...changed, created: "1970-01-02T00:00:00Z" });
  await git(folder.path, "checkout", "-q", "a/flows");
  await Deno.writeTextFile(`${folder.path}/a/flows/new.yaml`, "");
  assert.deepEqual(await push(), changed);
  await Deno.remove(`${folder.path}/a/flows/new.yaml`);
  await Deno.remove(`${folder.path}/a/resources/y.sql`);
  assert.deepEqual(await push(), changed);
});

Deno.test("push says what to write instead", async () => {
  await using folder = await Folder.with({ "b/x.yaml": "" });
  const cases: [string[], number, string][] = [
    [
      ["push", "a"],
      2,
      "usage.missing_argument\nName the folder to push and where to\n" +
      "hint: write flowgen push <folder> oci://host/repository:tag\n",
    ],
    [
      ["push", "a", "https://me:secret@host/x"],
      2,
      "usage.push_target\nCan push to addresses with oci:// only\n" +
      "hint: write flowgen push a oci://host/repository:tag\n",
    ],
    [
      ["push", "b", "oci://127.0.0.1:1/x"],
      1,
      "source.missing\nThere is nothing to push in b\n" +
      "hint: put flow files into its folder flows, and what they refer to into resources\n",
    ],
  ];
  for (const [args, code, stderr] of cases) {
    assert.deepEqual(await folder.flowgen(args), { code, stdout: "", stderr });
  }
});

// Only Linux has more addresses of its own without further ado.
if (Deno.build.os === "linux") {
  Deno.test("a registry elsewhere is spoken to without TLS where that is asked for", async () => {
    await using registry = await Registry.start({ address: "127.0.0.2" });
    await using folder = await Folder.with(FILES);
    const push = (...more: string[]) =>
      folder.flowgen(["push", "a", `oci://${registry.host}/acme/flows:v1`, ...more]);
    const refused = await push();
    assert.match(refused.stderr, /^source\.unavailable\n.*\nhint: for a registry without TLS set /);
    const { digest } = JSON.parse((await push("--plain-http")).stdout);
    const open = remoteOpener(systemClock);
    const read = async (more: object) => {
      const oci = { artifact: `${registry.host}/acme/flows:v1`, ...more };
      const limits = { max_file_size: 1_000, max_total_size: 1_000, max_files: 10 };
      return (await (await open({ oci, limits }, silentLog)).read(null))?.digest;
    };
    await assert.rejects(read({}), { code: "source.unavailable" });
    assert.equal(await read({ plain_http: true }), digest);
  });
}
