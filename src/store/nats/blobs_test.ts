import assert from "node:assert/strict";
import { Blobs } from "./blobs.ts";
import type { Channel } from "./channel.ts";

Deno.test("of two heads written at once the newer keeps its parts, whichever is told last", async () => {
  const purged: string[] = [];
  const channel = {
    bucket: { subjects: "" },
    purge: (filter: string) => Promise.resolve(void purged.push(filter)),
  };
  const blobs = new Blobs(channel as unknown as Channel);
  blobs.note("a", "newer", 21);
  await blobs.replaced("a", 21);
  blobs.note("a", "older", 20);
  await blobs.replaced("a", 20);
  assert.deepEqual(purged, ["=parts.older.*.a"]);
});
