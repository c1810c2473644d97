import assert from "node:assert/strict";
import fc from "fast-check";
import { FlowErrors } from "../core/errors.ts";
import { parseDocument } from "./document.ts";

async function placeOf(yaml: string, part: string): Promise<string> {
  const document = await parseDocument(yaml, "f.yaml");
  const value = (document.value as { a: string }).a;
  const offset = value.indexOf(part);
  assert.ok(offset >= 0, `${part} is not in the value ${JSON.stringify(value)}`);
  const before = value.slice(0, offset).split("\n");
  const { line, column } = document.locate(["a"], before.length, before.at(-1)!.length + 1);
  return yaml.split("\n")[line - 1]!.slice(column - 1);
}

for (const header of ["|", "|-", "|+", "|2", ">", ">-"]) {
  Deno.test(`a place inside a ${header} block is found in the file`, async () => {
    const yaml = `a: ${header} # note\n  one two\n\n  three\n    four five\n  six\n  seven\nb: 1\n`;
    for (const word of ["one", "two", "three", "four", "five", "six", "seven"]) {
      assert.match(await placeOf(yaml, word), new RegExp(`^${word}`));
    }
  });
}

Deno.test("a place inside quoted and plain text is found in the file, over several lines", async () => {
  for (
    const yaml of [
      'a: "one \\"x\\" \\u00e9 two\n    three\n\n    four \\\n    five"\n',
      'a: "one\\n two\\tthree four five"\n',
      "a: 'one ''x'' two\n    three\n\n    four five'\n",
      "a: one two\n    three\n\n    four five # six\n",
    ]
  ) {
    for (const word of ["one", "two", "three", "four", "five"]) {
      assert.match(await placeOf(yaml, word), new RegExp(`^${word}`), yaml);
    }
  }
});

Deno.test("every word of a random block is found where it stands", async () => {
  const line = fc.oneof(
    fc.constant(""),
    fc.tuple(fc.nat(3), fc.array(fc.nat(), { minLength: 1, maxLength: 3 })),
  );
  await fc.assert(fc.asyncProperty(
    fc.constantFrom("|", ">", "|-", ">-"),
    fc.array(line, { maxLength: 8 }),
    async (header, lines) => {
      let words = 0;
      const body = lines.map((one) =>
        typeof one === "string"
          ? one
          : `  ${" ".repeat(one[0])}${one[1].map(() => `w${words++}w`).join(" ")}`
      );
      // The first line of text decides the indentation, so it stands flush left.
      const yaml = `a: ${header}\n  start\n${body.join("\n")}\nb: 1\n`;
      for (let word = 0; word < words; word++) {
        assert.ok((await placeOf(yaml, `w${word}w`)).startsWith(`w${word}w`), yaml);
      }
    },
  ));
});

Deno.test("values and keys are located through lists, aliases and flow style", async () => {
  const yaml = "base: &base\n  x: 1\nlist:\n  - { k: v }\n  - *base\nempty:\n";
  const document = await parseDocument(yaml, "f.yaml");
  const at = ({ line, column }: { line: number; column: number }) => `${line}:${column}`;
  assert.equal(at(document.locate(["list", 0, "k"])), "4:10");
  assert.equal(at(document.keyPosition(["list", 0, "k"])), "4:7");
  assert.equal(at(document.locate(["list", 1, "x"])), "2:6");
  assert.equal(at(document.locate(["empty"])), "6:1", "a missing value is at its key");
  assert.equal(at(document.locate(["list", 0, "nope", 3])), "4:5", "the nearest that exists");
  document.release();
  assert.equal(at(document.locate(["list", 0, "k"])), "4:10", "also after release");
});

Deno.test("a byte order mark, tabs in JSON and an empty file are read", async () => {
  assert.deepEqual((await parseDocument("\ufeffa: 1", "f.yaml")).value, { a: 1 });
  assert.deepEqual((await parseDocument('{\n\t"a": [1,\t2]\n}', "f.json")).value, { a: [1, 2] });
  assert.equal((await parseDocument("", "f.yaml")).value, null);
});

Deno.test("what is no plain data is refused with its place", async () => {
  const cases = {
    "a: 1\nb: .nan": [2, "Expected a finite number"],
    "a: !!binary aGk=": [1, "Expected text, a number, true, false, a list or a map"],
    "a: &a [*a]": [1, "An alias cannot stand inside what it refers to"],
    "a: 1\nb: *c": [2, 'Cannot find the anchor "&c" above this alias'],
    "a: 'x\nb: 1\n": [1, "This text has no closing quote"],
    "a: 1\n<<: 2\nb: c: d": [3, "Cannot read a second key on one line"],
  } as const;
  for (const [yaml, [line, message]] of Object.entries(cases)) {
    await assert.rejects(parseDocument(yaml, "f.yaml"), ({ findings: [first] }: FlowErrors) => {
      assert.deepEqual([first?.position?.line, first?.message], [line, message]);
      return true;
    });
  }
});

Deno.test("a file that grows without bound through aliases or nesting is refused", async () => {
  const level = (name: string, below: string) => `${name}: &${name} [${`*${below},`.repeat(10)}]\n`;
  const bomb = "a: &a [1]\n" + level("b", "a") + level("c", "b") + level("d", "c") +
    level("e", "d");
  for (const text of [bomb, "[".repeat(50_000), "- ".repeat(50_000)]) {
    await assert.rejects(parseDocument(text, "f.yaml"), FlowErrors);
  }
});
