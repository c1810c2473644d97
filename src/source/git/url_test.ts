import assert from "node:assert/strict";
import { readGitUrl } from "./url.ts";

Deno.test("an address may end in a slash", () => {
  assert.equal(readGitUrl("https://host/team/flows.git//").href, "https://host/team/flows.git");
  assert.equal(readGitUrl("http://127.0.0.1:80/flows").href, "http://127.0.0.1/flows");
});

Deno.test("addresses that are none of HTTP are refused with what to write", () => {
  const wrong: [string, string, string][] = [
    ["git@host:team/flows.git", "an SSH address", "write https://host/team/flows.git"],
    ["ssh://git@host:22/team/flows", "an SSH address", "write https://host/team/flows"],
    [
      "file:///srv/flows",
      "a folder of this machine",
      "set flows.path to read files of this machine",
    ],
    ["git://host/flows", "a git address", "use an https address"],
    ["flows.git", "no URL", "write the whole address, such as https://host/team/flows.git"],
    [
      "https://ada:s3cret@host/flows",
      "an address with credentials in it",
      'put {"token": "..."} in a file instead',
    ],
    [
      "https://host/flows?ref=s3cret",
      "an address with ? or # in it",
      "name the branch or tag in a field of its own",
    ],
  ];
  for (const [url, what, hint] of wrong) {
    const message = `Cannot read a Git repository from ${what}`;
    assert.throws(() => readGitUrl(url), { code: "source.url_invalid", message, hint });
  }
});
