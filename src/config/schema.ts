/** The shape of config.yaml. Keys keep their YAML names in code; durations are milliseconds. */
import * as v from "valibot";
import { ByteSize, Count, Duration, RetryPolicy } from "../flow/schema.ts";
import { natsFields } from "../nats/options.ts";
import { singles, Sources } from "./sources.ts";

const described = <S extends v.GenericSchema>(schema: S, text: string) =>
  v.pipe(schema, v.description(text));

const Port = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535));
const Path = v.pipe(v.string(), v.nonEmpty());
const enabled = v.optional(v.boolean(), true);

/** A section that may be left out, or stand there without keys. */
function section<E extends v.ObjectEntries>(entries: E) {
  return v.optional(v.strictObject(entries), {} as never);
}

const JwtAuth = v.pipe(
  v.strictObject({
    type: v.literal("jwt"),
    secret: v.optional(described(v.string(), "Key of HMAC signatures.")),
    jwks_url: v.optional(described(v.pipe(v.string(), v.url()), "Where public keys are found.")),
    audience: v.optional(v.string()),
    issuer: v.optional(v.string()),
    user_id_claim: v.optional(v.string(), "sub"),
  }),
  v.check(
    ({ secret, jwks_url }) => secret !== undefined || jwks_url !== undefined,
    "Cannot verify tokens without a key\nhint: write secret or jwks_url",
  ),
);

const Flows = section({
  path: v.optional(described(Path, "Folder, file, or pattern with * of flow files.")),
  watch: described(v.optional(v.boolean(), true), "Whether changed files are loaded at once."),
  env: described(
    v.optional(v.array(v.pipe(v.string(), v.nonEmpty())), []),
    "Variables that flows from Git, OCI or the store may read.",
  ),
  credentials_root: v.optional(
    described(Path, "Folder of the credential files that flows from elsewhere may name."),
  ),
  cache: singles("flows", "Flows that other tools write into the store, one by one."),
});

const Cache = section({
  enabled: described(enabled, "false: as if the section were left out."),
  type: described(
    v.optional(v.picklist(["deno_kv", "memory", "nats"]), "deno_kv"),
    "nats: several nodes share one store, and flows.",
  ),
  path: described(
    v.optional(
      v.pipe(
        Path,
        v.check(
          (path) => path !== ":memory:",
          "Cannot keep a store in memory and in a file\nhint: leave path out and write type: memory",
        ),
      ),
    ),
    "The file or address of deno_kv; .flowgen/store.sqlite3 when left out.",
  ),
  ...natsFields,
  db_name: described(
    v.optional(v.pipe(v.string(), v.nonEmpty()), "flowgen_cache"),
    "Name of the store of flows' state; with nats its bucket.",
  ),
  history: described(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(64)), 64),
    "Values that a bucket of nats keeps of each key. Counts when the bucket is made.",
  ),
  tombstone_ttl: described(
    v.optional(v.pipe(Duration, v.minValue(1_000)), "1h"),
    "How long a bucket of nats remembers what was deleted. Counts when the bucket is made.",
  ),
  replicas: described(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(5))),
    "Servers of nats that keep each value, 1 when left out. Counts when the bucket is made.",
  ),
});

const Cluster = v.optional(
  v.pipe(
    v.strictObject({
      lease_duration: described(
        v.optional(v.pipe(Duration, v.minValue(300)), "6s"),
        "After this time without a sign of life another node may run a node's flows.",
      ),
      renew_interval: described(
        v.optional(v.pipe(Duration, v.minValue(100))),
        "How often a node gives a sign of life; a third of the lease when left out.",
      ),
    }),
    v.transform(({ lease_duration, renew_interval = Math.floor(lease_duration / 3) }) => ({
      lease_duration,
      renew_interval,
    })),
    v.check(
      ({ lease_duration, renew_interval }) => lease_duration >= 3 * renew_interval,
      "Expected a lease_duration of at least three times renew_interval",
    ),
  ),
  {} as never,
);

const HttpServer = section({
  enabled,
  port: v.optional(Port, 3000),
  path: described(
    v.optional(
      v.pipe(
        v.string(),
        v.regex(/^$|^\//, 'Expected a path that starts with "/"'),
        v.transform((path) => path.replace(/\/+$/, "")),
      ),
      "",
    ),
    "In front of every endpoint's path.",
  ),
  hostname: described(v.optional(v.string()), "Address to listen on; all of them when left out."),
  credentials_path: v.optional(Path),
  auth: v.optional(v.variant("type", [JwtAuth])),
});

const Scripts = section({
  engine: v.optional(v.picklist(["js", "ts"]), "js"),
  isolation: v.optional(v.picklist(["process", "none"]), "process"),
  children: described(v.optional(Count), "Script processes; one less than cores when left out."),
  limits: section({
    timeout: described(v.optional(Duration), "Wall time of one event; a task may ask for less."),
    memory: described(v.optional(ByteSize), "Heap of one script process; a task may ask for less."),
    output: described(v.optional(ByteSize), "JSON text of one result; a task may ask for less."),
  }),
});

const Telemetry = section({
  enabled,
  service_name: v.optional(v.string(), "flowgen"),
  metrics_export_interval: v.optional(Duration, "60s"),
  backend: v.optional(v.variant("type", [
    v.strictObject({
      type: v.literal("memory"),
      logs_per_flow: v.optional(Count, 1_000),
      metrics_per_flow: v.optional(Count, 1_000),
    }),
  ])),
  log: section({
    level: v.optional(v.picklist(["trace", "debug", "info", "warning", "error"]), "info"),
    format: described(
      v.optional(v.picklist(["pretty", "json", "auto"]), "auto"),
      "auto: pretty on a terminal, json elsewhere.",
    ),
  }),
});

/** All of config.yaml. Every section may be left out. */
export const ConfigSchema = v.strictObject({
  flows: Flows,
  cache: Cache,
  cluster: Cluster,
  resources: section({
    path: v.optional(described(Path, "Folder of the files that { resource: … } names.")),
    cache: singles("resources", "Files that other tools write into the store, one by one."),
  }),
  sources: described(
    v.optional(Sources, []),
    "Git repositories and OCI artifacts that flows come from; the first goes before the next.",
  ),
  http_server: HttpServer,
  health: section({ enabled, port: v.optional(Port, 8081) }),
  retry: v.optional(RetryPolicy, {}),
  event_buffer_size: described(
    v.optional(Count),
    "Accepted for compatibility; queues follow concurrency.",
  ),
  scripts: Scripts,
  telemetry: Telemetry,
  tasks: described(v.optional(v.array(Path), []), "Modules with task types of your own."),
  control: section({
    path: described(v.optional(Path), "Socket for the CLI; beside the store when left out."),
  }),
});

/** A configuration as a person writes it, in config.yaml or in code. */
export type ConfigInput = v.InferInput<typeof ConfigSchema>;

/** As the schema gives it, with paths as they were written. */
export type WrittenConfig = v.InferOutput<typeof ConfigSchema>;

/** A checked configuration with paths ready to open. */
export interface Config extends Omit<WrittenConfig, "cache" | "control"> {
  readonly cache: WrittenConfig["cache"] & { readonly path: string };
  readonly control: { readonly path: string };
}
