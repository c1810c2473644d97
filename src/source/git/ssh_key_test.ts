import assert from "node:assert/strict";
import { readAllowedKeys } from "./ssh_key.ts";
import { join, sized, text } from "./testing.ts";

const blobOf = (type: string) => join(sized(text(type)), sized(new Uint8Array(32))).toBase64();
const key = `ssh-ed25519 ${blobOf("ssh-ed25519")}`;

Deno.test("keys are read as they stand in .pub files and in allowed signers", () => {
  const lines = [
    "",
    "# who may release",
    `${key} ada at work`,
    `ada@example.com namespaces="file,git" ${key}`,
    key,
  ];
  assert.deepEqual(readAllowedKeys([lines.join("\n")]).map(({ type, name }) => [type, name]), [
    ["ssh-ed25519", "ada at work"],
    ["ssh-ed25519", "ada@example.com"],
    ["ssh-ed25519", ""],
  ]);
});

Deno.test("lines that would allow more, or nothing, are refused", () => {
  const types = "ssh-ed25519, ssh-rsa, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384";
  const wrong: [string[], string, string][] = [
    [[], "the list of signing keys is empty", "add a line such as ssh-ed25519 AAAA... name"],
    [
      ["# none"],
      "the list of signing keys is empty",
      "add a line such as ssh-ed25519 AAAA... name",
    ],
    [["SHA256:abc"], 'there is no usable key in "SHA256:abc"', `use a key of type ${types}`],
    [
      ["ssh-dss AAAA"],
      'there is no usable key in "ssh-dss AAAA"',
      `use a key of type ${types}`,
    ],
    [
      ["ssh-ed25519 AAAA ada"],
      'the key in "ssh-ed25519 AAAA ada" is cut off',
      "copy it again",
    ],
    [
      [`ssh-rsa ${blobOf("ssh-ed25519")}`],
      'the key in "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAA..." is cut off',
      "copy it again",
    ],
    ...["cert-authority", 'namespaces="file"', 'valid-before="20300101"'].map(
      (option): [string[], string, string] => [
        [`* ${option} ${key}`],
        `the options "${option}" of a key are not understood`,
        'leave out all options but namespaces="git"',
      ],
    ),
  ];
  for (const [lines, reason, hint] of wrong) {
    const message = `Cannot verify signatures: ${reason}`;
    assert.throws(() => readAllowedKeys(lines), { code: "source.key_invalid", message, hint });
  }
});
