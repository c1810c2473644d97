/** Where a NATS server is and how to log in, as it is written in config.yaml and in tasks. */
import * as v from "valibot";

export interface NatsOptions {
  /**
   * `localhost:4222`, `nats://a:4222,nats://b:4222`, `tls://…` or `wss://…`; several servers of one
   * cluster by comma. `user:password@` or `token@` in front of the host counts when there is no
   * `credentials_path`.
   */
  readonly url: string;
  /** See `readCredentials` for the formats. */
  readonly credentials_path?: string;
  readonly tls?: NatsTls;
}

/** Paths of PEM files. An empty object asks for TLS with the system's certificate authorities. */
export interface NatsTls {
  readonly ca_path?: string;
  readonly cert_path?: string;
  readonly key_path?: string;
}

/** The same server for somebody who has to bring a login of his own. */
export function withoutLogin({ url, tls }: NatsOptions): NatsOptions {
  return {
    url: url.split(",").map((one) => one.replace(/^(\s*[a-z][\w+.-]*:\/\/)?.*@/is, "$1")).join(","),
    ...(tls && { tls: { ca_path: tls.ca_path } }),
  };
}

export const DEFAULT_NATS_URL = "localhost:4222";

const Path = v.pipe(v.string(), v.nonEmpty());

const described = <S extends v.GenericSchema>(schema: S, text: string) =>
  v.pipe(schema, v.description(text));

/** The fields of `NatsOptions`, for `v.strictObject({ ...natsFields, … })`. */
export const natsFields = {
  url: v.optional(
    described(
      v.pipe(v.string(), v.nonEmpty()),
      "Address of the NATS server; several of one cluster by comma. `nats://`, `tls://`, `ws://` " +
        "or `wss://` may stand in front.",
    ),
    DEFAULT_NATS_URL,
  ),
  credentials_path: v.optional(
    described(
      Path,
      'File with `{"user", "password"}`, `{"token"}` or `{"nkey": {"seed"}}`, or a `.creds` file.',
    ),
  ),
  tls: v.optional(
    described(
      v.strictObject({
        ca_path: v.optional(
          described(Path, "Certificate authorities to trust instead of the system's."),
        ),
        cert_path: v.optional(
          described(Path, "Certificate to show, for servers that ask for one."),
        ),
        key_path: v.optional(described(Path, "Private key of that certificate.")),
      }),
      "Asks for an encrypted connection.",
    ),
  ),
};
