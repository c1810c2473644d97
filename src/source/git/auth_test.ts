import assert from "node:assert/strict";
import { answerChallenge } from "./auth.ts";

const given = { token: "s3cret" };
const basic = `Basic ${btoa("x-access-token:s3cret")}`;

Deno.test("Basic is answered where it is offered or nothing is said, Bearer where it stands alone", () => {
  assert.equal(answerChallenge('Basic realm="Git"', given), basic);
  assert.equal(answerChallenge(null, given), basic);
  assert.equal(answerChallenge('Bearer realm="Git"', given), "Bearer s3cret");
  assert.equal(answerChallenge('Bearer realm="a", Basic realm="b"', given), basic);
  assert.equal(answerChallenge('Negotiate, bearer realm="a, basic"', given), "Bearer s3cret");
  assert.equal(answerChallenge("Negotiate", given), basic);
  // No further than a server that means well goes; patterns would be busy with the rest for long.
  const long = `Bearer realm="${"\\a".repeat(5_000)}", Basic`;
  assert.equal(answerChallenge(long, given), "Bearer s3cret");
});

Deno.test("names and tokens of any letters", () => {
  const header = answerChallenge(null, { username: "jürgen", token: "ü" });
  const bytes = Uint8Array.fromBase64(header.slice("Basic ".length));
  assert.equal(new TextDecoder().decode(bytes), "jürgen:ü");
});

Deno.test("credentials that cannot be sent are refused without showing them", () => {
  const wrong: [unknown, string][] = [
    [null, "they have no token"],
    ["s3cret", "they have no token"],
    [{ token: "" }, "they have no token"],
    [{ token: 7 }, "they have no token"],
    [{ token: "s3cret", username: "a:b" }, "the username is no text without a colon"],
    [{ token: "s3cret\n" }, "they hold a control character"],
  ];
  for (const [content, reason] of wrong) {
    assert.throws(() => answerChallenge(null, content), {
      code: "source.credentials_invalid",
      message: `Cannot use the Git credentials: ${reason}`,
    });
  }
});
