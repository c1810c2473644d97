import * as v from "valibot";
import { defineTask } from "../../flow/task.ts";
import { Filled, isOneOf, limitsOf, syncFields } from "./fields.ts";
import { syncRun } from "./sync.ts";

const Config = v.strictObject({
  artifact: v.pipe(
    Filled,
    v.description(
      "`host[:port]/repository[:tag][@digest]`; `latest` without a tag, docker.io without a host.",
    ),
  ),
  semver: v.optional(v.pipe(
    Filled,
    v.description("Range of versions in place of a tag; the newest tag in it is read."),
  )),
  platform: v.optional(v.pipe(
    Filled,
    v.description("Which of an index, such as `linux/amd64`; that of this machine when left out."),
  )),
  plain_http: v.optional(v.pipe(
    v.boolean(),
    v.description("Speaks to the registry without TLS, for one inside a network of one's own."),
  )),
  credentials_path: v.optional(v.pipe(
    Filled,
    v.description("JSON file with `username` and `password`, or a Docker `config.json`."),
  )),
  verify: v.optional(v.pipe(
    v.strictObject({
      cosign_key: v.optional(Filled),
      cosign_key_path: v.optional(Filled),
    }),
    isOneOf("Expected one of cosign_key and cosign_key_path"),
    v.description(
      "`cosign_key` or `cosign_key_path`: public key, as PEM, that the artifact must be signed with.",
    ),
  )),
  ...syncFields,
});

/**
 * Reads the files of an OCI artifact or image whenever an event comes, and emits them if the artifact
 * is another one than that whose events were done last. Nothing is emitted when nothing changed.
 *
 * With `emit: files` each event is `{ path, content, digest, artifact_digest }`: the digests of the
 * layer and of the manifest. A file that is not UTF-8 is an event of bytes with the rest added to its
 * `meta`. All files come, changed or not: what is gone is what no event of the batch names.
 *
 * With `emit: snapshot` the one event is `{ version, artifact_digest, files, problems }`, each file
 * `{ path, content }` or, where it is not UTF-8, `{ path, base64 }`. It is as large as the files are
 * together; `max_total_size` bounds it.
 */
export const ociSync = defineTask({
  type: "oci_sync",
  mode: "async",
  concurrency: 1,
  summary: "Emits the files of an OCI artifact when they have changed.",
  config: Config,
  examples: [
    {
      title: "Flows that were pushed with `flowgen push`, for workspace_publish",
      config: {
        artifact: "ghcr.io/acme/flows:production",
        credentials_path: "/run/secrets/registry.json",
        emit: "snapshot",
      },
    },
    {
      title: "The newest release, one event per file",
      config: { artifact: "ghcr.io/acme/queries", semver: "1.x", max_total_size: "10MiB" },
    },
  ],
  async create(context) {
    const { config, credentials } = context;
    const { artifact, semver, platform, plain_http, verify } = config;
    return await syncRun(context, {
      remote: {
        oci: { artifact, semver, platform, plain_http },
        credentials_path: config.credentials_path && credentials(config.credentials_path),
        verify: verify && {
          ...verify,
          cosign_key_path: verify.cosign_key_path && credentials(verify.cosign_key_path),
        },
        limits: limitsOf(config),
      },
      force: config.force_pull,
      emit: config.emit,
      ofFile: ({ digest }, snapshot) => ({ digest: digest!, artifact_digest: snapshot.digest! }),
      ofSnapshot: (snapshot) => ({ artifact_digest: snapshot.digest! }),
    });
  },
});
