/** `sources:` of config.yaml: repositories and artifacts that bring flows and resources. */
import * as v from "valibot";
import { ByteSize, Count, Duration } from "../flow/schema.ts";

const described = <S extends v.GenericSchema>(schema: S, text: string) =>
  v.pipe(schema, v.description(text));

const Text = v.pipe(v.string(), v.nonEmpty());

/** How many of these keys a map has. */
const count = (value: object, keys: readonly string[]) =>
  keys.filter((key) => (value as Record<string, unknown>)[key] !== undefined).length;

const Git = v.pipe(
  v.strictObject({
    url: described(v.optional(Text), "https or http address, without credentials."),
    repository_url: described(v.optional(Text), "The same as url."),
    branch: described(v.optional(Text), "Left out with the others: the default branch."),
    tag: v.optional(Text),
    commit: described(v.optional(Text), "Full id."),
    semver: described(v.optional(Text), 'Range of versions over the tags, such as "^1.2".'),
    path: described(v.optional(Text), "Folder inside the repository."),
  }),
  v.check(
    (git) => count(git, ["url", "repository_url"]) === 1,
    "Cannot read a repository without its address\nhint: write url, once",
  ),
  v.check(
    (git) => count(git, ["branch", "tag", "commit", "semver"]) <= 1,
    "Cannot follow more than one of branch, tag, commit and semver",
  ),
  v.transform(({ url, repository_url, ...git }) => ({ ...git, url: (url ?? repository_url)! })),
);

const Oci = v.strictObject({
  artifact: described(Text, "host/repository:tag, or @digest."),
  semver: described(v.optional(Text), "Range of versions over the tags, in place of a tag."),
  platform: described(v.optional(Text), "Which of an index, such as linux/amd64."),
  plain_http: described(
    v.optional(v.boolean()),
    "Speaks to the registry without TLS, for one inside a network of one's own.",
  ),
});

const Verify = v.pipe(
  v.strictObject({
    ssh_keys: described(
      v.optional(v.pipe(v.array(Text), v.minLength(1))),
      "git: public keys, one of which must have signed the commit.",
    ),
    ssh_keys_path: described(v.optional(Text), "The same as a file, one key per line."),
    cosign_key: described(v.optional(Text), "oci: public key of the signature, PEM."),
    cosign_key_path: described(v.optional(Text), "The same as a file."),
  }),
  v.check(
    (verify) => Object.values(verify).filter((key) => key !== undefined).length === 1,
    "Cannot verify by none or by several kinds of keys\nhint: write one of ssh_keys, ssh_keys_path, cosign_key and cosign_key_path",
  ),
);

const Webhook = v.pipe(
  v.strictObject({
    type: described(
      v.optional(v.picklist(["github", "gitlab", "generic"]), "generic"),
      "How calls are signed; github is also what Gitea sends.",
    ),
    secret: v.optional(Text),
    secret_path: described(v.optional(Text), "File with the secret."),
  }),
  v.check(
    (webhook) => count(webhook, ["secret", "secret_path"]) === 1,
    "Cannot tell whose calls to take without a secret\nhint: write secret or secret_path, one of them",
  ),
);

const Limits = v.optional(
  v.strictObject({
    max_file_size: v.optional(ByteSize, "10MiB"),
    max_total_size: v.optional(ByteSize, "100MiB"),
    max_files: v.optional(Count, 20_000),
  }),
  {} as never,
);

const Prefix = v.pipe(
  v.string(),
  v.regex(
    /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/,
    'Expected a prefix such as "team" or "team/a", without "/" at its ends',
  ),
);

const Source = v.pipe(
  v.strictObject({
    name: described(
      v.pipe(
        v.string(),
        v.regex(
          /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/,
          "Expected up to 64 letters, digits, - and _, starting with a letter or digit",
        ),
      ),
      "Of the workspace it fills.",
    ),
    git: v.optional(Git),
    oci: v.optional(Oci),
    interval: described(
      v.optional(v.pipe(Duration, v.minValue(1_000)), "1m"),
      "From one check to the next, at most.",
    ),
    prefix: described(v.optional(Prefix), "In front of the identities of its flows."),
    activate: described(
      v.optional(v.picklist(["all_valid", "each"]), "all_valid"),
      "all_valid: a version with a broken flow does not go live. each: its other flows do.",
    ),
    verify: described(v.optional(Verify), "What is not signed so is not read."),
    webhook: described(v.optional(Webhook), "Calls to /webhooks/sources/<name> check at once."),
    credentials_path: v.optional(Text),
    limits: Limits,
  }),
  v.check(
    (source) => count(source, ["git", "oci"]) === 1,
    "Cannot tell where the source is\nhint: write git or oci, one of them",
  ),
  v.check(
    ({ oci, verify }) => !(oci && verify && count(verify, ["ssh_keys", "ssh_keys_path"]) > 0),
    "Cannot verify an artifact by SSH keys\nhint: write cosign_key",
  ),
  v.check(
    ({ git, verify }) => !(git && verify && count(verify, ["cosign_key", "cosign_key_path"]) > 0),
    "Cannot verify commits by a cosign key\nhint: write ssh_keys",
  ),
);

export const Sources = v.pipe(
  v.array(Source),
  v.check(
    (sources) => new Set(sources.map(({ name }) => name)).size === sources.length,
    "Cannot give two sources one name",
  ),
);

/** One of `sources:`. */
export type SourceConfig = v.InferOutput<typeof Source>;

/** The same with paths that count from where `from` says. */
export function resolveSource(
  source: SourceConfig,
  from: (path: string | undefined) => string | undefined,
): SourceConfig {
  const { verify, webhook } = source;
  return {
    ...source,
    credentials_path: from(source.credentials_path),
    ...(verify && {
      verify: {
        ...verify,
        ssh_keys_path: from(verify.ssh_keys_path),
        cosign_key_path: from(verify.cosign_key_path),
      },
    }),
    ...(webhook && { webhook: { ...webhook, secret_path: from(webhook.secret_path) } }),
  };
}

/** `flows.cache` and `resources.cache`: what other tools write into the store, key by key. */
export const singles = (prefix: string, description: string) =>
  described(
    v.optional(v.strictObject({
      enabled: v.optional(v.boolean(), true),
      prefix: described(
        v.optional(
          v.pipe(
            v.string(),
            v.regex(/^[A-Za-z0-9_-]+$/, "Expected letters, digits, - and _"),
            v.check(
              (text) => !["blobs", "cluster", "workspaces"].includes(text),
              "Cannot share keys with the runtime's own records\nhint: choose another prefix",
            ),
          ),
          prefix,
        ),
        "First part of the keys.",
      ),
      db_name: described(v.optional(Text, "flowgen_system"), "Store, or bucket of nats."),
    })),
    description,
  );
