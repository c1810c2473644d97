import assert from "node:assert/strict";
import { Blobs } from "./blobs.ts";
import { type Channel, type Draft, EXPECTED_HEADER, type Message, Unanswered } from "./channel.ts";
import { encodeHead, HEAD_HEADER } from "./head.ts";
import { Writer } from "./writer.ts";

/** Of another write over the same message. */
const THEIRS = [
  [HEAD_HEADER, encodeHead({ op: "theirs", until: undefined, blob: undefined })],
  [EXPECTED_HEADER, "5"],
] as const;

/** A stream that takes writes and answers as the test says. */
function channelThat({ stores, finds }: {
  stores: readonly (number | null | "no answer")[];
  finds: readonly ("ours" | "theirs" | "nothing")[];
}) {
  const sent: Draft[] = [];
  const answers = [...stores];
  const found = [...finds];
  const channel = {
    bucket: { subjects: "", ttl: false },
    largestValue: 100,
    async store(draft: Draft): Promise<number | null> {
      sent.push(draft);
      const answer = answers.shift();
      if (answer === "no answer") throw new Unanswered("x");
      return answer!;
    },
    async firstAfter(subject: string): Promise<Message | null> {
      const what = found.shift();
      if (what === "nothing") return null;
      const headers = new Map(what === "ours" ? sent[0]!.headers : THEIRS);
      return { subject, seq: 7, data: sent[0]!.data, header: (name) => headers.get(name) };
    },
  } as unknown as Channel;
  return { channel, sent, left: () => answers.length + found.length };
}

async function update(channel: Channel): Promise<string | null> {
  const writer = new Writer(channel, new Blobs(channel), 0);
  const value = new Uint8Array(1);
  await using draft = await writer.draft({ wire: "a", value, until: undefined, ttl: undefined });
  return await draft.write(5);
}

Deno.test("a late attempt that came true before its repetition is not a lost race", async () => {
  const { channel, sent, left } = channelThat({
    stores: ["no answer", null],
    finds: ["nothing", "ours"],
  });
  assert.equal(await update(channel), "7");
  assert.equal(left(), 0);
  const ops = sent.map(({ headers }) => new Map(headers).get(HEAD_HEADER));
  assert.equal(ops[0], ops[1]);
});

Deno.test("a repetition that loses, and finds another's write first, has lost", async () => {
  const stores = ["no answer", null] as const;
  assert.equal(await update(channelThat({ stores, finds: ["nothing", "theirs"] }).channel), null);
});

Deno.test("a repetition that loses to nothing anybody shows may have been written", async () => {
  const stores = ["no answer", null] as const;
  const { channel } = channelThat({ stores, finds: ["nothing", "nothing"] });
  await assert.rejects(update(channel), { code: "store.unavailable" });
});

Deno.test("a write that nobody answers is given up", async () => {
  const { channel, left } = channelThat({
    stores: ["no answer", "no answer", "no answer"],
    finds: ["nothing", "nothing", "nothing"],
  });
  await assert.rejects(update(channel), { code: "store.unavailable" });
  assert.equal(left(), 0);
});
