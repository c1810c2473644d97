import { FlowError } from "../../core/errors.ts";

/** An artifact's place: `host[:port]/repository[:tag][@digest]`. */
export interface Reference {
  /** As credentials and people name it: `ghcr.io`, `docker.io`, `127.0.0.1:5000`. */
  readonly registry: string;
  /** Where its API answers, such as `https://registry-1.docker.io`. */
  readonly origin: string;
  readonly repository: string;
  /** As given; `LATEST` is meant when there is no digest either. */
  readonly tag?: string;
  readonly digest?: string;
  /** `registry/repository`, for messages. */
  readonly name: string;
  /** The whole reference in its long form, for messages. */
  readonly text: string;
}

export const LATEST = "latest";

const DOCKER_HUB = "docker.io";
const DOCKER_HUB_NAMES = new Set([DOCKER_HUB, "index.docker.io", "registry-1.docker.io"]);
const DOCKER_HUB_ORIGIN = "https://registry-1.docker.io";

const HOST =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;
/** Names and tags as in the distribution specification: repositories are lower case. */
const REPOSITORY =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Hosts that are spoken to without TLS: this machine, under exactly these names. */
const LOOPBACK = new Set(["127.0.0.1", "localhost", "[::1]"]);

/**
 * Reads a reference; a first part that does not look like a host means Docker Hub, as in Docker.
 * `oci://` in front is accepted.
 *
 * @param plainHttp Speaks to the registry without TLS, as otherwise only to one on this machine.
 * @throws {FlowError} `source.reference_invalid`
 */
export function parseReference(given: string, plainHttp = false): Reference {
  const text = given.replace(/^oci:\/\//, "");
  if (text.includes("://")) {
    throw invalid("an artifact that has a scheme", "leave the scheme out, or write oci://");
  }
  const [, left, digest] = /^([^@]*)(?:@(.*))?$/s.exec(text)!;
  // What stands in front of an @ that no digest follows may be a password.
  if (digest !== undefined && !DIGEST.test(digest)) {
    throw invalid(
      "what follows the @ of an artifact",
      "write @sha256:… for a digest; user names and passwords belong into a credentials file",
    );
  }
  const colon = left!.lastIndexOf(":");
  const tagged = colon > left!.lastIndexOf("/");
  const path = tagged ? left!.slice(0, colon) : left!;
  const tag = tagged ? left!.slice(colon + 1) : undefined;
  const { host, repository } = split(path);
  if (!HOST.test(host)) throw invalid(`"${host}" as a registry`, EXAMPLE);
  if (!REPOSITORY.test(repository)) {
    throw invalid(`"${repository}" as a repository`, `${EXAMPLE}; names are in lower case`);
  }
  if (tag !== undefined && !TAG.test(tag)) throw invalid(`"${tag}" as a tag`, EXAMPLE);
  const hub = DOCKER_HUB_NAMES.has(host.toLowerCase());
  const registry = hub ? DOCKER_HUB : host.toLowerCase();
  return referenceTo({
    registry,
    origin: originOf(registry, plainHttp),
    repository: hub && !repository.includes("/") ? `library/${repository}` : repository,
    tag,
    digest,
  });
}

/** The same repository at another tag or digest. */
export function referenceTo(
  { registry, origin, repository, tag, digest }: Omit<Reference, "name" | "text">,
): Reference {
  const name = `${registry}/${repository}`;
  const text = name + (tag === undefined ? "" : `:${tag}`) +
    (digest === undefined ? "" : `@${digest}`);
  return { registry, origin, repository, tag, digest, name, text };
}

export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

function split(path: string): { host: string; repository: string } {
  const slash = path.indexOf("/");
  const first = path.slice(0, Math.max(0, slash));
  const isHost = /[.:]/.test(first) || first === "localhost";
  return isHost
    ? { host: first, repository: path.slice(slash + 1) }
    : { host: DOCKER_HUB, repository: path };
}

function originOf(registry: string, plainHttp: boolean): string {
  if (registry === DOCKER_HUB) return DOCKER_HUB_ORIGIN;
  const host = registry.replace(/:\d+$/, "");
  return `${plainHttp || LOOPBACK.has(host) ? "http" : "https"}://${registry}`;
}

const EXAMPLE = "write host/repository:tag, such as ghcr.io/acme/flows:v1";

function invalid(what: string, hint: string): FlowError {
  return new FlowError("source.reference_invalid", `Cannot use ${what}`, { hint });
}
