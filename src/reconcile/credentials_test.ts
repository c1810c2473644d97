import assert from "node:assert/strict";
import { join } from "node:path";
import { credentialsFor } from "./credentials.ts";

const trusted = { identity: "a" };
const outside = {
  identity: "a",
  outside: { resources: { read: () => Promise.reject(new Error("not read")) } },
};

Deno.test("a flow from a file names any credentials file", () => {
  const credentials = credentialsFor(undefined);
  assert.equal(credentials("/anywhere/x.json", trusted), "/anywhere/x.json");
  assert.equal(credentials("x.json", trusted), "x.json");
});

Deno.test("a flow from outside names none without flows.credentials_root", () => {
  assert.throws(() => credentialsFor(undefined)("x.json", outside), {
    code: "flow.credentials_not_allowed",
    message: 'The flow "a" may not read the credentials file "x.json"',
    hint: "set flows.credentials_root in config.yaml; only flows from files need none",
  });
});

Deno.test("a flow from outside names files below flows.credentials_root only", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const root = join(folder, "root");
    await Deno.mkdir(join(root, "..data"), { recursive: true });
    await Deno.writeTextFile(join(root, "..data", "git.json"), "{}");
    await Deno.symlink(join(root, "..data", "git.json"), join(root, "git.json"));
    await Deno.writeTextFile(join(folder, "secret.json"), "{}");
    await Deno.symlink(join(folder, "secret.json"), join(root, "leads_out.json"));
    await Deno.mkdir(join(folder, "root_too"));
    const credentials = credentialsFor(root);
    assert.equal(credentials("git.json", outside), join(root, "git.json"));
    assert.equal(credentials(join(root, "git.json"), outside), join(root, "git.json"));
    assert.equal(credentials("later.json", outside), join(root, "later.json"));
    for (
      const path of [
        "../secret.json",
        "a/../../secret.json",
        "/etc/passwd",
        "leads_out.json",
        "../root_too/x.json",
        ".",
        "",
      ]
    ) {
      assert.throws(() => credentials(path, outside), {
        code: "flow.credentials_not_allowed",
        hint: "name a file below flows.credentials_root",
      }, path);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
