import assert from "node:assert/strict";
import { parseReference, referenceTo } from "./reference.ts";

Deno.test("a reference without host means Docker Hub, whose names are one registry", () => {
  for (
    const text of [
      "alpine",
      "docker.io/alpine",
      "index.docker.io/alpine",
      "registry-1.docker.io/library/alpine",
    ]
  ) {
    const { registry, repository, origin } = parseReference(text);
    assert.deepEqual([registry, repository, origin], [
      "docker.io",
      "library/alpine",
      "https://registry-1.docker.io",
    ]);
  }
  assert.equal(parseReference("acme/flows").name, "docker.io/acme/flows");
});

Deno.test("a reference has a host with a port, a tag and a digest", () => {
  const digest = `sha256:${"a".repeat(64)}`;
  const reference = parseReference(`oci://ghcr.io:444/acme/team/flows:v1.2@${digest}`);
  assert.deepEqual(reference, {
    registry: "ghcr.io:444",
    origin: "https://ghcr.io:444",
    repository: "acme/team/flows",
    tag: "v1.2",
    digest,
    name: "ghcr.io:444/acme/team/flows",
    text: `ghcr.io:444/acme/team/flows:v1.2@${digest}`,
  });
  assert.equal(parseReference(`a.b/c@sha512:${"0".repeat(128)}`).tag, undefined);
});

Deno.test("plain HTTP is for this machine under exactly its names", () => {
  for (const host of ["127.0.0.1", "localhost", "localhost:5000", "[::1]:5000", "LOCALHOST:1"]) {
    assert.match(parseReference(`${host}/a`).origin, /^http:/);
  }
  for (const host of ["localhost.evil.com", "127.0.0.1.nip.io", "127.0.0.11:80", "a.b:80"]) {
    assert.match(parseReference(`${host}/a`).origin, /^https:/);
  }
});

Deno.test("plain HTTP is for another registry only where it is asked for", () => {
  const reference = parseReference("registry:5000/acme/flows:v1", true);
  assert.equal(reference.origin, "http://registry:5000");
  assert.equal(referenceTo({ ...reference, tag: "v2" }).origin, "http://registry:5000");
  assert.match(parseReference("registry:5000/acme/flows:v1").origin, /^https:/);
});

Deno.test("a reference that is none is told without what may be secret", () => {
  const message = (text: string) => {
    try {
      parseReference(text);
      return "fine";
    } catch (cause) {
      return (cause as Error).message;
    }
  };
  assert.equal(
    message("https://user:pass@ghcr.io/a"),
    "Cannot use an artifact that has a scheme",
  );
  assert.equal(message("user:pass@ghcr.io/a"), "Cannot use what follows the @ of an artifact");
  assert.equal(message("ghcr.io/Acme"), 'Cannot use "Acme" as a repository');
  assert.equal(message("ghcr.io/a:v 1"), 'Cannot use "v 1" as a tag');
  assert.equal(message("gh_cr.io/a"), 'Cannot use "gh_cr.io" as a registry');
  assert.equal(message("ghcr.io/"), 'Cannot use "" as a repository');
  assert.equal(message("ghcr.io/../../x"), 'Cannot use "../../x" as a repository');
});
