import assert from "node:assert/strict";
import { TestClock } from "../../core/clock.ts";
import { GitHttp } from "./http.ts";
import { text } from "./testing.ts";
import { V0Remote } from "./v0.ts";

const [one, two, three] = ["1".repeat(40), "2".repeat(40), "3".repeat(40)];
const packet = (content: string) => (content.length + 4).toString(16).padStart(4, "0") + content;

/** @param answer To every request. */
function remote(lines: string[], answer: string) {
  const sent: string[] = [];
  const http = new GitHttp({
    url: new URL("https://host/flows"),
    clock: new TestClock(),
    fetch: (_url, { body }) => {
      sent.push(new TextDecoder().decode(body as Uint8Array<ArrayBuffer>));
      return Promise.resolve(new Response(text(answer) as Uint8Array<ArrayBuffer>));
    },
  });
  return { remote: new V0Remote(http, lines), sent };
}

Deno.test("what stands between branches and tags is no ref", async () => {
  const { remote: old } = remote([
    `${one} refs/heads/main\0side-band-64k`,
    `${two} refs/tags/v1`,
    `${three} refs/tags/v1^{}`,
    `shallow ${one}`,
  ], "");
  assert.deepEqual(await old.refs([]), [
    { name: "refs/heads/main", id: one, peeled: undefined },
    { name: "refs/tags/v1", id: two, peeled: three },
  ]);
});

Deno.test("a server gets only what it says it knows", async () => {
  const answer = packet("NAK\n") + packet("\x01pack") + "0000";
  const { remote: old, sent } = remote([`${one} HEAD\0side-band-64k multi_ack`], answer);
  assert.deepEqual(await old.fetch({ wants: [one], maxBytes: 100 }), text("pack"));
  assert.match(sent[0]!, /^[0-9a-f]{4}want 1{40} side-band-64k agent=\S+\n00000009done\n$/);

  const cut = packet(`shallow ${one}\n`) + "0000" + answer;
  const { remote: newer, sent: more } = remote([`${one} HEAD\0side-band-64k shallow`], cut);
  assert.deepEqual(await newer.fetch({ wants: [one], maxBytes: 100 }), text("pack"));
  assert.match(more[0]!, /000ddeepen 1\n0000/);
});
