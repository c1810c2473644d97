import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import Handlebars from "handlebars";
import { parse } from "yaml";
import { helpers } from "./helpers.ts";
import { templateHelper } from "./template.ts";
import { yamlHelper } from "./yaml.ts";

const { parse_yaml } = yamlHelper();
const { render } = templateHelper();
const tools = helpers();

Deno.test("sha256 and sha512 agree with the platform at every padding", () => {
  for (let length = 0; length < 300; length++) {
    const text = "aé€😀".repeat(100).slice(0, length);
    assert.equal(tools.sha256(text), createHash("sha256").update(text).digest("hex"));
    assert.equal(tools.sha512(text), createHash("sha512").update(text).digest("hex"));
  }
});

Deno.test("uuids are of version 7, in order and never the same", () => {
  const made = Array.from({ length: 5_000 }, () => tools.uuid());
  assert.equal(new Set(made).size, made.length);
  assert.deepEqual(made, made.toSorted());
});

const wrong: [string, () => unknown, string][] = [
  [
    "timestamps are whole numbers",
    () => tools.timestamp_to_iso(1.5),
    "Timestamp must be an integer, got type: number",
  ],
  [
    "formats are known signs",
    () => tools.timestamp_format(0, "%Q"),
    'Cannot format a timestamp with "%Q"',
  ],
  [
    "times have an offset",
    () => tools.parse_timestamp("2030-01-01T00:00:00"),
    'Cannot read an RFC 3339 time from "2030-01-01T00:00:00"',
  ],
  [
    "patterns must be closed",
    () => tools.regex_match("a", "("),
    "Invalid regex '(': Invalid regular expression: /(/u: Unterminated group",
  ],
  ["templates must be closed", () => render("{{#if a}}x", {}), "Cannot find {{/if}} in a template"],
  [
    "templates know few helpers",
    () => render("{{upper a}}", {}),
    'Cannot read "{{upper a}}": templates of scripts know paths, if, unless, each, with',
  ],
  [
    "YAML has no anchors here",
    () => parse_yaml("a: &x 1"),
    'Cannot parse YAML at line 1: cannot read "&": anchors, aliases and tags are not supported',
  ],
  [
    "YAML keys come once",
    () => parse_yaml("a: 1\na: 2"),
    'Cannot parse YAML at line 2: the key "a" is there twice',
  ],
];
for (const [sentence, call, message] of wrong) {
  Deno.test(`${sentence}, or it is told`, () => assert.throws(call, { message }));
}

const documents = [
  "",
  "a: 1",
  "a:\n  b:\n    c: [1, 2, {x: y}]\n  d: 'it''s'\n",
  "- 1\n- two\n- - 3\n  - 4\n- a: b\n  c: d\n-\n  e: f\n",
  "list:\n- a\n- b\nafter: true\n",
  "text: |\n  one\n   two\n\n  three\nfold: >\n  a\n  b\n\n  c\nstrip: |-\n  x\nkeep: |+\n  y\n\nend: 1\n",
  "# comment\na: 1 # more\nb: 'x # y'\nc: x#y\n",
  'q: "a\\n\\u00e9\\t\\"b\\""\n"quoted key": v\n? ""\n'.replace('? ""\n', ""),
  "n: [~, null, true, False, 1.5, -2, 1e3, 0x1f, .5, 12abc, '1']\n",
  "url: http://example.com:80/x\ntime: 12:30:45\n",
  "---\na: 1\n...\n",
  "{a: 1, b: [x, y], 'c': \"d\"}",
  "[\n  1,\n  2, # two\n  {a: 1}\n]\n",
  "plain scalar",
  "a: this goes\n  on and on\n  to here\nb: 1\n",
  "a:\nb:\n  c:\nd: ''\n",
  "name: demo\ntasks:\n  - generate:\n      name: tick\n      interval: 1s\n  - script:\n      name: s\n      code: |\n        return {\n          a: 1,\n        }\n  - log: { level: info }\n",
  "a: [a: 1, b]\n",
  "empty: {}\nnone: []\n",
  "- |\n  x\n  y\n- >-\n  z\n  w\n",
  "\ufeffa: 1\r\nb: 2\r\n",
  "emoji: 😀\nä: ö\n",
];
for (const document of documents) {
  Deno.test(`parse_yaml reads ${JSON.stringify(document)} as the yaml package does`, () => {
    assert.deepEqual(parse_yaml(document), parse(document));
  });
}

const data = {
  name: "<A & 'b'>",
  on: true,
  off: false,
  zero: 0,
  none: null,
  list: [{ n: 1 }, { n: 2 }],
  map: { x: 1, y: 2 },
  empty: [],
  deep: { a: { b: [10, 20] } },
};
const templates = [
  "plain",
  "{{name}} {{{name}}} {{&name}} {{missing}} {{none}} {{zero}} {{off}}",
  "{{deep.a.b.[1]}} {{deep.a.b.length}}",
  "{{#if on}}yes{{else}}no{{/if}}{{#if zero}}yes{{else}}no{{/if}}{{#if empty}}yes{{/if}}",
  "{{#if off}}a{{else if on}}b{{else}}c{{/if}}",
  "{{#unless off}}off{{/unless}}",
  "{{#each list}}{{@index}}{{@first}}{{@last}}:{{n}}{{../name}};{{/each}}",
  "{{#each map}}{{@key}}={{this}},{{/each}}{{#each empty}}x{{else}}nothing{{/each}}",
  "{{#with deep.a}}{{b}}{{/with}}{{! gone }}{{!-- gone }} --}}end",
  "{{#each list}}{{#if @first}}{{n}}{{else}}-{{n}}{{/if}}{{/each}}",
  "{{@root.name}}{{this.on}}",
];
for (const template of templates) {
  Deno.test(`render makes of ${template} what Handlebars makes`, () => {
    assert.equal(render(template, data), Handlebars.compile(template)(data));
  });
}
