import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { parseKeys } from "./keys.ts";
import { bytesOf } from "./testing.ts";

const HINT = "write the text of cosign.pub: an ECDSA P-256, RSA or Ed25519 key in PEM";

const pairs = {
  ecdsa: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ed25519: generateKeyPairSync("ed25519"),
};

Deno.test("signatures of ECDSA, RSA and Ed25519 keys are checked, by any of several keys", () => {
  const content = bytesOf("content");
  const pems = Object.values(pairs).map(({ publicKey }) =>
    publicKey.export({ type: "spki", format: "pem" }) as string
  );
  Object.entries(pairs).forEach(([kind, { privateKey }], at) => {
    const signature = sign(kind === "ed25519" ? null : "sha256", content, privateKey);
    assert.equal(parseKeys(pems[at]!).verify(content, signature), true, kind);
    assert.equal(parseKeys(pems.join("")).verify(content, signature), true, kind);
    assert.equal(parseKeys(pems[(at + 1) % 3]!).verify(content, signature), false, kind);
    assert.equal(parseKeys(pems[at]!).verify(bytesOf("other"), signature), false, kind);
    assert.equal(parseKeys(pems[at]!).verify(content, bytesOf("")), false, kind);
  });
});

Deno.test("what is no public key is refused", () => {
  const invalid = (why: string) => ({
    code: "source.verify_invalid",
    message: `Cannot use verify.cosign_key: ${why}`,
    hint: HINT,
  });
  const secret = pairs.ecdsa.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  assert.throws(() => parseKeys("cosign.pub"), invalid("it holds no public key"));
  assert.throws(() => parseKeys(secret), invalid("it is a private key, which must not be here"));
  const broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
  assert.throws(() => parseKeys(broken), invalid("it is not a public key in PEM"));
  const { publicKey } = generateKeyPairSync("x25519");
  assert.throws(
    () => parseKeys(publicKey.export({ type: "spki", format: "pem" }) as string),
    invalid('keys of the kind "x25519" are not known here'),
  );
});
