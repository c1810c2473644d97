/** Holds the code to the order of its rooms by reading its lines. `STYLE.md` draws the house. */
import assert from "node:assert/strict";
import { dirname, join, relative } from "node:path";

const ROOT = join(import.meta.dirname!, "..");

/** Top to bottom; imports point down. Rooms of one floor are neighbours that do not meet. */
const FLOORS: readonly (readonly string[])[] = [
  ["mod.ts"],
  ["src/main.ts"],
  ["src/cli"],
  ["src/runtime.ts"],
  ["src/runtime"],
  ["src/parts.ts"],
  ["src/app"],
  ["src/scheduler"],
  ["src/cluster", "src/workspace"],
  ["src/reconcile"],
  ["src/engine"],
  ["src/tasks", "src/script", "src/source", "src/store"],
  ["src/config"],
  ["src/flow"],
  ["src/template", "src/nats"],
  ["src/core", "src/version.ts"],
];

/** Rooms of things that come in kinds, and who may name one of them from outside its room. */
const KINDS = ["src/tasks", "src/script", "src/source", "src/store"];
const MAY_NAME_KINDS: Record<string, string> = {
  "src/parts.ts": "makes what a configuration asks for",
  "src/cli/script_child.ts": "is the entry of the script process, where there is no runtime",
};

/** What asks the platform for time or chance. */
const PLATFORM =
  /\b(Date\.now|Math\.random|setTimeout|setInterval|performance\.now|AbortSignal\.timeout)\(/;
const MAY_ASK_PLATFORM: Record<string, string> = {
  "src/script/js/child.ts": "runs in the script process",
  "src/script/js/watch.ts": "runs in the script process",
  "src/script/js/helpers.ts": "becomes text that is compiled in there",
};

const LONGEST_FILE = 400;
const MAY_BE_LONGER: Record<string, string> = {
  "src/store/testing.ts": "one suite that asks the same of all stores",
  "src/script/testing.ts": "one suite that asks the same of all isolations",
  "src/script/js/cage_test.ts": "all known ways out of the cage",
  "src/engine/flow_run_test.ts": "the engine's promises, one by one",
  "src/engine/accounting_test.ts": "what a delivery counts, checked on random graphs",
  "src/engine/edges_test.ts": "the engine's corner cases, one by one",
};

interface Source {
  /** From the root of the repository, with `/`. */
  readonly path: string;
  readonly lines: readonly string[];
}

Deno.test("imports point down the list of rooms", () => {
  const wrong = code().flatMap((file) =>
    importsOf(file).filter((target) => !pointsDown(file.path, target))
      .map((target) => `${file.path} imports ${target}`)
  );
  assert.deepEqual(wrong, []);
});

Deno.test("every file of src has its room", () => {
  const homeless = code().filter(({ path }) => roomOf(path) === undefined).map(({ path }) => path);
  assert.deepEqual(homeless, []);
});

Deno.test("only parts.ts names concrete tasks, script engines, sources and stores", () => {
  const wrong = code().filter(({ path }) => !(path in MAY_NAME_KINDS)).flatMap((file) =>
    importsOf(file)
      .filter((target) =>
        KINDS.includes(roomOf(target) ?? "") && roomOf(file.path) !== roomOf(target)
      )
      .map((target) => `${file.path} imports ${target}`)
  );
  assert.deepEqual(wrong, []);
});

Deno.test("tasks of different systems meet in the list of all tasks only", () => {
  const systemOf = (path: string) => /^src\/tasks\/([^/]+)\//.exec(path)?.[1];
  const wrong = code().filter(({ path }) => systemOf(path) !== undefined).flatMap((file) =>
    importsOf(file)
      .filter((target) =>
        target.startsWith("src/tasks/") && systemOf(target) !== systemOf(file.path)
      )
      .map((target) => `${file.path} imports ${target}`)
  );
  assert.deepEqual(wrong, []);
});

Deno.test("time and chance come in from core", () => {
  const wrong = code()
    .filter(({ path }) => roomOf(path) !== "src/core" && !(path in MAY_ASK_PLATFORM))
    .flatMap(({ path, lines }) =>
      lines.flatMap((line, at) => {
        const found = isComment(line) ? null : PLATFORM.exec(line);
        return found ? [`${path}:${at + 1} calls ${found[1]}`] : [];
      })
    );
  assert.deepEqual(wrong, []);
});

Deno.test("a file is one idea", () => {
  const wrong = sources()
    .filter(({ path, lines }) => lines.length > LONGEST_FILE && !(path in MAY_BE_LONGER))
    .map(({ path, lines }) => `${path} has ${lines.length} lines`);
  assert.deepEqual(wrong, []);
});

Deno.test("what the lists of exceptions name is there", () => {
  const paths = new Set(sources().map(({ path }) => path));
  const named = [MAY_NAME_KINDS, MAY_ASK_PLATFORM, MAY_BE_LONGER].flatMap(Object.keys);
  assert.deepEqual(named.filter((path) => !paths.has(path)), []);
});

Deno.test("what is loaded later is part of a compiled binary", () => {
  const { tasks } = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json")));
  const included = [...tasks.compile.matchAll(/--include (\S+)/g)].map(([, path]) => path);
  const later = code().flatMap(({ path, lines }) =>
    [...lines.join("\n").matchAll(/later<typeof import\("([^"]+)"\)>/g)]
      .map(([, name]) => below(ROOT, join(ROOT, dirname(path), name!)))
  );
  assert.deepEqual(later.sort(), included.sort());
});

/** Everything but tests and what only tests use, which may put any rooms together. */
function code(): Source[] {
  return sources().filter(({ path }) => !/(_test|\/testing)\.ts$/.test(path));
}

function sources(): Source[] {
  return ["mod.ts", ...filesIn("src")].map((path) => ({
    path,
    lines: Deno.readTextFileSync(join(ROOT, path)).trimEnd().split("\n"),
  }));
}

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(join(ROOT, folder))].flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    if (isDirectory) return filesIn(path);
    return name.endsWith(".ts") ? [path] : [];
  }).sort();
}

function importsOf({ path, lines }: Source): string[] {
  return lines.filter((line) => !isComment(line)).flatMap((line) => {
    const name = /(?:\bfrom |\bimport\(?\s*)"(\.[^"]+\.ts)"/.exec(line)?.[1];
    return name === undefined ? [] : [below(ROOT, join(ROOT, dirname(path), name))];
  });
}

function isComment(line: string): boolean {
  return /^\s*(\/\/|\/?\*)/.test(line);
}

function below(root: string, path: string): string {
  return relative(root, path).replaceAll("\\", "/");
}

function roomOf(path: string): string | undefined {
  return FLOORS.flat().find((room) => path === room || path.startsWith(`${room}/`));
}

function pointsDown(from: string, to: string): boolean {
  const [upper, lower] = [roomOf(from), roomOf(to)];
  if (upper === undefined || lower === undefined) return false;
  const floorOf = (room: string) => FLOORS.findIndex((floor) => floor.includes(room));
  return upper === lower || floorOf(upper) < floorOf(lower);
}
