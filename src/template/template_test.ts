import assert from "node:assert/strict";
import { Template } from "./template.ts";

const scope = { event: { data: { id: 7, list: [{ a: null }], text: "{{event.data.id}}" } } };

Deno.test("a placeholder alone keeps the type of its value", () => {
  assert.equal(new Template("{{event.data.id}}").render(scope), 7);
  assert.deepEqual(new Template("{{ event.data.list }}").render(scope), [{ a: null }]);
  assert.equal(new Template("{{event.data.list.0.a}}").render(scope), null);
});

Deno.test("mixed text stays text, also when it looks like JSON", () => {
  assert.equal(new Template("{{event.data.id}}{{event.data.id}}").render(scope), "77");
});

Deno.test("what a placeholder yields is never read as a template again", () => {
  assert.equal(new Template("<{{event.data.text}}>").render(scope), "<{{event.data.id}}>");
});

Deno.test("a missing path is an error that names it", () => {
  assert.throws(() => new Template("x-{{event.data.nope}}").render(scope), {
    code: "template.missing_path",
    message: 'Cannot find "event.data.nope" in the event',
  });
});

Deno.test("inherited names are not found", () => {
  assert.throws(() => new Template("{{event.data.constructor}}").render(scope), {
    code: "template.missing_path",
  });
});

Deno.test("blocks, helpers and open placeholders are refused when compiled", () => {
  for (const text of ["{{#if a}}x{{/if}}", "{{upper name}}", "{{}}", "{{event.data", "{{a..b}}"]) {
    assert.throws(() => new Template(text), { code: "template.syntax" }, text);
  }
});
