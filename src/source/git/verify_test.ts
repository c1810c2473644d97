import assert from "node:assert/strict";
import type { GitObject } from "./objects.ts";
import { armored, join, signSsh, text } from "./testing.ts";
import { verifySigned } from "./verify.ts";

const [one, two] = ["1".repeat(40), "2".repeat(40)];
const unsigned: GitObject = { type: "commit", data: text(`tree ${one}\n\nmessage\n`) };

Deno.test("a signed tag vouches for the commit that it names, whatever the server says", async () => {
  const content = text(`object ${one}\ntype commit\ntag v1\n\nrelease\n`);
  const { key, data } = await signSsh(content);
  const object: GitObject = { type: "tag", data: join(content, text(armored(data))) };
  const tag = { name: "v1", object };
  assert.equal(await verifySigned({ id: one, commit: unsigned, tag }, [key]), key);
  await assert.rejects(verifySigned({ id: two, commit: unsigned, tag }, [key]), {
    code: "source.unverified",
    message: `Cannot trust the commit ${two}: it is not signed`,
  });
});

Deno.test("a commit without message, and one whose message looks like a signature", async () => {
  const content = text(`tree ${one}\nauthor A\n`);
  const { key, data } = await signSsh(content);
  const header = `gpgsig ${armored(data).trim().replaceAll("\n", "\n ")}\n`;
  const signed: GitObject = { type: "commit", data: join(content, text(header)) };
  assert.equal(await verifySigned({ id: one, commit: signed }, [key]), key);
  const inMessage: GitObject = { type: "commit", data: join(content, text(`\n${header}`)) };
  await assert.rejects(verifySigned({ id: one, commit: inMessage }, [key]), {
    message: `Cannot trust the commit ${one}: it is not signed`,
  });
});
