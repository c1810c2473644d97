import { systemClock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import { packArtifact, pushArtifact } from "../parts.ts";
import { defineCommand } from "./command.ts";
import type { Commit } from "./commit.ts";
import { Exit } from "./exit.ts";
import { visible } from "./visible.ts";
import { count } from "./words.ts";

const SCHEME = "oci://";

export const push = defineCommand({
  args: "<folder> <oci://host/repository:tag>",
  most: 2,
  about: "Packs flows and resources of a folder as an OCI artifact, pushes it and prints its\n" +
    "digest. Equal files give equal artifacts; the time is that of the Git commit, where the files\n" +
    "are as committed, else $SOURCE_DATE_EPOCH, else 1970.",
  options: {
    credentials: {
      value: "file",
      about: 'JSON: {"username", "password"}, or a Docker config.json.',
    },
    "plain-http": { about: "Speak to the registry without TLS; to localhost in any case." },
  },
  examples: [
    "flowgen push . oci://ghcr.io/acme/flows:v1.2.0 --credentials credentials.json",
    "flowgen push deploy oci://localhost:5000/flows",
  ],
  async run(given, output) {
    const [folder, target] = given.args;
    if (folder === undefined || target === undefined) {
      throw new FlowError("usage.missing_argument", "Name the folder to push and where to", {
        hint: "write flowgen push <folder> oci://host/repository:tag",
      });
    }
    if (!target.startsWith(SCHEME)) {
      // The text may hold a password, so it is not repeated.
      throw new FlowError("usage.push_target", `Can push to addresses with ${SCHEME} only`, {
        hint: `write flowgen push ${folder} oci://host/repository:tag`,
      });
    }
    const packed = await packArtifact(folder);
    const { commitOf } = await import("./commit.ts");
    const commit = await commitOf(folder, packed);
    const created = timeOf(commit);
    const { reference, digest } = await pushArtifact(packed, {
      reference: target,
      plainHttp: given.flag("plain-http"),
      annotations: {
        "org.opencontainers.image.created": created,
        ...(commit && { "org.opencontainers.image.revision": commit.id }),
      },
      credentials: given.value("credentials"),
      clock: systemClock,
    });
    const files = packed.files.length;
    const bytes = packed.layer.bytes.length;
    if (output.json) {
      const revision = commit?.id ?? null;
      output.printJson({ reference, digest, files, bytes, created, revision });
    } else {
      const summary = `Pushed ${count(files, "file")} (${count(bytes, "byte")})`;
      output.print(`${summary} to ${visible(reference)}\n${digest}`);
    }
    return Exit.ok;
  },
});

/** RFC 3339, to the second. @throws {FlowError} `usage.source_date_epoch` */
function timeOf(commit: Commit | null): string {
  const text = commit ? `${commit.time}` : Deno.env.get("SOURCE_DATE_EPOCH") ?? "0";
  const time = new Date(/^\d+$/.test(text) ? Number(text) * 1_000 : NaN);
  if (Number.isNaN(time.getTime())) {
    throw new FlowError(
      "usage.source_date_epoch",
      `Cannot use "${text}" in the variable SOURCE_DATE_EPOCH`,
      { hint: "write seconds since 1970" },
    );
  }
  return time.toISOString().replace(".000Z", "Z");
}
