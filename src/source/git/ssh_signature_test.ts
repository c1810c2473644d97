import assert from "node:assert/strict";
import { verifySshSignature } from "./ssh_signature.ts";
import { armored, signSsh, text } from "./testing.ts";

const message = text("tree 1\n\nrelease\n");
const sign = (options?: Parameters<typeof signSsh>[1]) => signSsh(message, options);

Deno.test("a signature names the key that made it", async () => {
  for (const digest of ["sha256", "sha512"]) {
    const { key, data } = await sign({ digest });
    const { key: other } = await sign();
    assert.deepEqual(await verifySshSignature(armored(data), message, [other, key]), { key });
  }
});

Deno.test("signatures for other purposes, or of weak kinds, count for nothing", async () => {
  const reasons: [NonNullable<Parameters<typeof sign>[0]>, string][] = [
    [{ namespace: "file" }, "its signature was made for something else"],
    [{ digest: "sha1" }, "its signature was made for something else"],
    [{ kind: "ssh-rsa" }, "its signature is of a kind that is not accepted"],
    [{ kind: "rsa-sha2-512" }, "its signature is of a kind that is not accepted"],
    [{ kind: "rsa-sha2-512", type: "ssh-rsa" }, "its signature does not fit its content"],
  ];
  for (const [options, reason] of reasons) {
    const { key, data } = await sign(options);
    assert.deepEqual(await verifySshSignature(armored(data), message, [key]), { reason });
  }
});

Deno.test("other keys, other content and damaged signatures are refused", async () => {
  const { key, data } = await sign();
  const { key: other } = await sign();
  assert.deepEqual(await verifySshSignature(armored(data), message, [other]), {
    reason: "it is signed by a key that is not in the list",
  });
  assert.deepEqual(await verifySshSignature(armored(data), text("evil"), [key]), {
    reason: "its signature does not fit its content",
  });
  for (
    const text of [
      "",
      "-----BEGIN PGP SIGNATURE-----",
      armored(data.with(0, 0)),
      "\n" + armored(data),
    ]
  ) {
    assert.deepEqual(await verifySshSignature(text, message, [key]), {
      reason: "its signature is not one of SSH",
    });
  }
  for (let at = 6; at < data.length; at++) {
    const verdict = await verifySshSignature(armored(data.with(at, data[at]! ^ 1)), message, [key]);
    assert.ok("reason" in verdict, `byte ${at}`);
    const cut = await verifySshSignature(armored(data.subarray(0, at)), message, [key]);
    assert.ok("reason" in cut, `cut at ${at}`);
  }
});
