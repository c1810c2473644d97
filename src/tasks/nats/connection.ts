import { later } from "../../core/later.ts";
import * as v from "valibot";
import type { Services } from "../../flow/services.ts";
import type { TaskContext } from "../../flow/task.ts";
import type { NatsLease } from "../../nats/connect.ts";
import { DEFAULT_NATS_URL, natsFields, type NatsOptions } from "../../nats/options.ts";

/** Where a task connects to; for `v.strictObject({ ...connectionFields, … })`. */
export const connectionFields = {
  ...natsFields,
  url: v.optional(v.pipe(
    v.string(),
    v.nonEmpty(),
    v.description(
      "Address of the NATS server, several of one cluster by comma. When left out, the one of " +
        `\`cache\` in config.yaml if its type is \`nats\`, else \`${DEFAULT_NATS_URL}\`.`,
    ),
  )),
};

type Connection = Partial<NatsOptions>;

/**
 * Connects a task to its server; the share in the connection ends with the task's generation.
 *
 * @throws {FlowError} like `acquireNats`
 */
export async function connect(
  { config, services, credentials, clock, defer }: TaskContext<Connection>,
): Promise<NatsLease> {
  const { acquireNats } = await later<typeof import("../../nats/connect.ts")>(
    "../../nats/connect.ts",
    import.meta.url,
  );
  const lease = await acquireNats(optionsOf(config, ownNats(services), credentials), { clock });
  defer(async () => await lease[Symbol.asyncDispose]());
  return lease;
}

/**
 * The runtime's own credentials go to the runtime's own server only, and its own paths need no check
 * against the limits for flows.
 */
export function optionsOf(
  { url, credentials_path, tls }: Connection,
  own: NatsOptions,
  checked: (path: string) => string,
): NatsOptions {
  const base: Connection = url === undefined ? own : {};
  const path = (one: string | undefined) => one === undefined ? undefined : checked(one);
  return {
    url: url ?? own.url,
    credentials_path: path(credentials_path) ?? base.credentials_path,
    tls: tls
      ? {
        ca_path: path(tls.ca_path),
        cert_path: path(tls.cert_path),
        key_path: path(tls.key_path),
      }
      : base.tls,
  };
}

function ownNats(services: Services): NatsOptions {
  return ("nats" in services ? services.nats : undefined) ?? { url: DEFAULT_NATS_URL };
}
