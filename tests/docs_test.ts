/** Keeps the pages true: what is generated is up to date, what is shown is valid, links lead somewhere. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { REFERENCE, taskReference } from "../docs/generate.ts";
import { checkConfig } from "../src/config/load.ts";
import { buildGraph } from "../src/engine/graph.ts";
import { noEnv } from "../src/flow/env.ts";
import { parseFlow } from "../src/flow/flow_file.ts";
import { DEFAULT_LIMITS } from "../src/script/mod.ts";
import { HELPER_NAMES } from "../src/script/js/wrap.ts";
import { builtinTasks } from "../src/tasks/mod.ts";

const ROOT = join(import.meta.dirname!, "..");

Deno.test("docs/task-reference.md is what docs/generate.ts makes", () => {
  const written = Deno.readTextFileSync(REFERENCE);
  const hint = "run: deno run -A docs/generate.ts";
  assert.equal(written, taskReference(builtinTasks), hint);
});

Deno.test("the configurations that pages show are valid", () => {
  const shown = ["docs/config.md", "README.md"].flatMap((page) => blocksOf(page, "yaml"))
    .filter((text) => text.startsWith("flows:"));
  assert.equal(shown.length, 2);
  for (const text of shown) checkConfig(parse(text));
});

Deno.test("the flows that pages show are valid", async () => {
  const definitions = new Map(builtinTasks.map((one) => [one.type, one]));
  const shown = pages().flatMap((page) =>
    blocksOf(page, "yaml").filter((text) => text.startsWith("flow:")).map((text) => ({
      page,
      text,
    }))
  );
  assert.ok(shown.length > 0);
  for (const { page, text } of shown) {
    buildGraph(await parseFlow({ identity: page, file: page, text, definitions, env: noEnv }));
  }
});

Deno.test("docs/scripts.md names every helper and limit as it is", () => {
  const page = Deno.readTextFileSync(join(ROOT, "docs/scripts.md"));
  const short = (name: string) => name.replace(/^timestamp(?=_to_)/, "");
  assert.deepEqual(HELPER_NAMES.filter((name) => !page.includes(short(name))), []);
  const { timeout, memory, output } = DEFAULT_LIMITS;
  const mebibytes = (bytes: number) => `${bytes / 1024 ** 2}MiB`;
  for (const shown of [`${timeout / 1000}s`, mebibytes(memory), mebibytes(output)]) {
    assert.ok(page.includes(`\`${shown}\``), `does not say ${shown}`);
  }
});

Deno.test("links between pages lead to files", () => {
  const broken = pages().flatMap((page) =>
    [...textOf(page).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
      .map(([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target))
      .map((target) => join(dirname(page), target))
      .filter((path) => !exists(path))
      .map((path) => `${page} links ${path}`)
  );
  assert.deepEqual(broken, []);
});

Deno.test("Deno's version is pinned in one place", () => {
  const version = Deno.readTextFileSync(join(ROOT, ".deno-version")).trim();
  assert.match(version, /^\d+\.\d+\.\d+$/);
  // Benchmarks are a record, and say what they were measured with.
  const places = ["deno.json", "Dockerfile", ".ci/run", ...pages()]
    .filter((path) => path !== join("docs", "benchmarks.md"));
  assert.deepEqual(places.filter((path) => textOf(path).includes(version)), []);
});

function pages(): string[] {
  return ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...markdownIn("docs")]
    .concat(markdownIn("examples"));
}

function markdownIn(folder: string): string[] {
  return [...Deno.readDirSync(join(ROOT, folder))].flatMap(({ name, isDirectory }) => {
    const path = join(folder, name);
    if (isDirectory) return markdownIn(path);
    return name.endsWith(".md") ? [path] : [];
  }).sort();
}

function blocksOf(page: string, language: string): string[] {
  const pattern = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm");
  return [...textOf(page).matchAll(pattern)].map(([, block]) => block!);
}

function textOf(path: string): string {
  return Deno.readTextFileSync(join(ROOT, path));
}

function exists(path: string): boolean {
  try {
    Deno.statSync(join(ROOT, path));
    return true;
  } catch {
    return false;
  }
}
