import { later } from "../core/later.ts";
import type { Clock } from "../core/clock.ts";
import { FlowError } from "../core/errors.ts";
import type {
  GitPlace,
  OpenRemote,
  Remote,
  RemoteLimits,
  RemoteSource,
  Verification,
} from "../flow/remote.ts";

/** Opens Git repositories and OCI artifacts; their readers are loaded when they are first asked for. */
export function remoteOpener(clock: Clock): OpenRemote {
  return async (remote, log) => {
    const options = { clock, log, limits: limitsOf(remote.limits) };
    if (remote.git) return await openGit(remote.git, remote, options);
    if (remote.oci) {
      const { ociSource } = await later<typeof import("./oci/oci_source.ts")>(
        "./oci/oci_source.ts",
        import.meta.url,
      );
      const { fileLogins } = await later<typeof import("./oci/login.ts")>(
        "./oci/login.ts",
        import.meta.url,
      );
      const { credentials_path: path, verify } = remote;
      return ociSource({
        ...remote.oci,
        ...options,
        logins: path === undefined ? undefined : fileLogins(path),
        verify: verify && { cosign_key: await keyText(verify, "cosign_key") },
      });
    }
    throw new FlowError("source.place_missing", "Cannot tell where to read from");
  };
}

type Options = { readonly limits: ReturnType<typeof limitsOf> } & {
  readonly clock: Clock;
  readonly log: Parameters<OpenRemote>[1];
};

async function openGit(
  { url, path, ...ref }: GitPlace,
  { credentials_path, verify }: Remote,
  options: Options,
): Promise<RemoteSource> {
  const { commitOf, GitSource } = await later<typeof import("./git/git.ts")>(
    "./git/git.ts",
    import.meta.url,
  );
  const source = new GitSource({
    ...options,
    url,
    path,
    ref,
    credentials: credentials_path === undefined ? undefined : () => readJson(credentials_path),
    verify: verify && {
      ssh_keys: verify.ssh_keys ??
        (await keyText(verify, "ssh_keys")).split("\n").filter((line) => /^\s*[^#\s]/.test(line)),
    },
  });
  return {
    async read(previous, signal) {
      const snapshot = await source.read(previous, signal);
      return snapshot && { ...snapshot, commit: commitOf(snapshot.version) };
    },
  };
}

/** @throws {FlowError} `source.key_unreadable` */
async function keyText(verify: Verification, kind: "cosign_key" | "ssh_keys"): Promise<string> {
  const written = verify[kind];
  if (typeof written === "string") return written;
  const path = verify[`${kind}_path`];
  if (path === undefined) {
    throw new FlowError("source.key_unreadable", `Cannot verify without ${kind}`, {
      hint: kind === "cosign_key" ? "artifacts are signed by cosign" : "commits are signed by SSH",
    });
  }
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new FlowError("source.key_unreadable", `Cannot read the keys in ${path}`, {
      hint: `see verify.${kind}_path`,
      cause,
    });
  }
}

function limitsOf({ max_file_size, max_total_size, max_files }: RemoteLimits) {
  return { maxFileSize: max_file_size, maxTotalSize: max_total_size, maxFiles: max_files };
}

/** @throws {FlowError} `source.credentials_invalid`, without quoting what is in the file */
async function readJson(path: string): Promise<unknown> {
  const problem = (what: string) =>
    new FlowError(
      "source.credentials_invalid",
      `Cannot use the credentials file ${path}: ${what}`,
      {
        hint: 'write {"token": "…"}, and "username" where the host wants one',
      },
    );
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (cause) {
    throw problem(
      cause instanceof Deno.errors.NotFound ? "there is no such file" : "cannot read it",
    );
  }
  try {
    return JSON.parse(text);
  } catch {
    throw problem("it is not valid JSON");
  }
}
