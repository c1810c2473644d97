import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import type { Reference } from "./reference.ts";

/** What proves who we are. */
export type Login =
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  /** An OAuth 2 refresh token, as `docker login` leaves for some registries. */
  | { readonly kind: "identity"; readonly token: string }
  /** Sent as it is. */
  | { readonly kind: "bearer"; readonly token: string };

/** Asked on each challenge of a registry, so that credentials can change; `null` for anonymous. */
export type Logins = (reference: Reference) => Promise<Login | null>;

const Plain = v.object({
  username: v.pipe(v.string(), v.nonEmpty()),
  password: v.pipe(v.string(), v.nonEmpty()),
});

const DockerEntry = v.object({
  auth: v.optional(v.string()),
  username: v.optional(v.string()),
  password: v.optional(v.string()),
  identitytoken: v.optional(v.string()),
  registrytoken: v.optional(v.string()),
});
type DockerEntry = v.InferOutput<typeof DockerEntry>;

const DockerConfig = v.object({
  auths: v.optional(v.record(v.string(), DockerEntry), {}),
  credHelpers: v.optional(v.record(v.string(), v.string()), {}),
  credsStore: v.optional(v.string()),
});

const WRITE = 'write {"username": "…", "password": "…"}, or a Docker config.json with "auths"';

/**
 * Logins of a file: `{ "username", "password" }` for whatever registry it is given to, or a Docker
 * `config.json`, of which the entry for the registry is taken. The file is read at each call.
 *
 * @throws {FlowError} (the returned function) `source.credentials_invalid`
 */
export function fileLogins(path: string): Logins {
  return async (reference) => {
    let content: unknown;
    try {
      content = JSON.parse(await Deno.readTextFile(path));
    } catch (cause) {
      // A parser's message may quote the file, so only the kind of trouble is told.
      const problem = cause instanceof SyntaxError ? "it is not valid JSON" : "cannot read it";
      throw invalid(path, problem);
    }
    const plain = v.safeParse(Plain, content);
    if (plain.success) return { kind: "password", ...plain.output };
    const docker = v.safeParse(DockerConfig, content);
    const known = content instanceof Object &&
      ["auths", "credHelpers", "credsStore"].some((key) => key in content);
    if (!docker.success || !known) throw invalid(path, "its fields are not as expected");
    return dockerLogin(docker.output, reference, path);
  };
}

function dockerLogin(
  { auths, credHelpers, credsStore }: v.InferOutput<typeof DockerConfig>,
  reference: Reference,
  path: string,
): Login | null {
  const entry = bestEntry(auths, reference);
  const login = entry && loginOf(entry, path, reference.registry);
  if (login) return login;
  // `docker login` leaves an empty entry where a helper keeps the secret.
  const helper = bestEntry(credHelpers, reference) ?? (entry && credsStore);
  if (!helper) return null;
  throw new FlowError(
    "source.credentials_invalid",
    `Cannot use the credentials file ${path}: those of ${reference.registry} are kept by the ` +
      `helper docker-credential-${helper}, and programs are not started from here`,
    {
      hint:
        `put {"auths": {"${reference.registry}": {"auth": "…"}}} into the file, the base64 of ` +
        "user:password, or use a file with username and password",
    },
  );
}

/**
 * Keys are hosts, with or without scheme and path (`https://index.docker.io/v1/`), or a host with the
 * start of a repository, as in containers-auth.json(5); the longest that fits is meant.
 */
function bestEntry<T>(entries: Record<string, T>, { registry, repository }: Reference): T | null {
  let best: { length: number; entry: T } | null = null;
  for (const [key, entry] of Object.entries(entries)) {
    const [, scheme, host, path] = /^(https?:\/\/)?([^/]*)\/?(.*?)\/*$/s.exec(key)!;
    if (!sameRegistry(host!, registry)) continue;
    const below = scheme || /^v[12]$/.test(path!) ? "" : path!;
    if (below !== "" && !`${repository}/`.startsWith(`${below}/`)) continue;
    if (!best || below.length > best.length) best = { length: below.length, entry };
  }
  return best && best.entry;
}

const DOCKER_HUB = /^(?:docker\.io|(?:index|registry-1)\.docker\.io)$/;

function sameRegistry(host: string, registry: string): boolean {
  const name = host.toLowerCase();
  return name === registry || (registry === "docker.io" && DOCKER_HUB.test(name));
}

function loginOf(entry: DockerEntry, path: string, registry: string): Login | null {
  if (entry.identitytoken) return { kind: "identity", token: entry.identitytoken };
  if (entry.registrytoken) return { kind: "bearer", token: entry.registrytoken };
  if (entry.username && entry.password) {
    return { kind: "password", username: entry.username, password: entry.password };
  }
  if (!entry.auth) return null;
  const [, username, password] = /^([^:]+):(.+)$/s.exec(fromBase64(entry.auth) ?? "") ?? [];
  if (username === undefined || password === undefined) {
    throw invalid(path, `"auth" of ${registry} is not the base64 of user:password`);
  }
  return { kind: "password", username, password };
}

function fromBase64(text: string): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.fromBase64(text.trim()));
  } catch {
    return null;
  }
}

function invalid(path: string, problem: string): FlowError {
  return new FlowError(
    "source.credentials_invalid",
    `Cannot use the credentials file ${path}: ${problem}`,
    { hint: WRITE },
  );
}
