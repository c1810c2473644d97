/** A Git server for tests: the real `git http-backend` behind a bridge from HTTP to CGI. */
import { join } from "node:path";

export interface GitServerOptions {
  /** Ask for these; Basic as Git hosts do, or Bearer. May be changed while it runs. */
  readonly auth?: { username?: string; token: string; scheme?: "basic" | "bearer" };
  /** Ignores what clients say about protocol versions, as servers before 2018 do. */
  readonly oldProtocol?: boolean;
}

export interface Seen {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly status: number;
  readonly authorization: string | null;
  /** Of the request, unpacked. */
  readonly body: string;
  /** Bytes of the answer's body. */
  bytes: number;
}

/** What goes wrong, for one request; `null` lets it through. */
export type Fault =
  | { kind: "answer"; response: () => Response }
  /** The connection ends after so many bytes of the answer's body. */
  | { kind: "drop"; after: number }
  /** The answer stops after so many bytes, but the connection stays open. */
  | { kind: "stall"; after: number }
  /** The answer's body, changed. */
  | { kind: "change"; change: (body: Uint8Array) => Uint8Array };

export interface GitServer extends AsyncDisposable {
  /** Without a slash at the end; a repository `r` is at `${url}/r.git`. */
  readonly url: string;
  /** What was asked since the last `clear`. */
  readonly seen: Seen[];
  readonly options: { -readonly [K in keyof GitServerOptions]: GitServerOptions[K] };
  /** Decides about each request; set it to break things, or to keep them waiting. */
  fault: ((request: Request) => Fault | null | Promise<Fault | null>) | undefined;
}

/**
 * Serves all repositories below `root` on a free port of 127.0.0.1.
 *
 * @param root Folder of repositories, see `makeRepository`.
 */
export function serveGit(root: string, options: GitServerOptions = {}): GitServer {
  const seen: Seen[] = [];
  const stop = new AbortController();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname, search } = new URL(request.url);
    const body = new Uint8Array(await request.arrayBuffer());
    const fault = await self.fault?.(request) ?? null;
    const response = fault?.kind === "answer"
      ? fault.response()
      : refuse(request, self.options.auth) ??
        await runBackend(root, request, body, self.options.oldProtocol ?? false);
    const entry: Seen = {
      method: request.method,
      path: pathname + search,
      status: response.status,
      authorization: request.headers.get("authorization"),
      body: new TextDecoder().decode(body),
      bytes: 0,
    };
    seen.push(entry);
    if (fault?.kind === "change" && response.status === 200) {
      const changed = fault.change(new Uint8Array(await response.arrayBuffer()));
      entry.bytes = changed.length;
      return new Response(changed as Uint8Array<ArrayBuffer>, response);
    }
    const { headers } = response;
    if (fault?.kind === "drop") headers.set("content-length", String(fault.after + 1));
    const counted = response.body?.pipeThrough(meter(entry, fault, stop.signal));
    return new Response(counted, { status: response.status, headers });
  });
  const self: GitServer = {
    url: `http://127.0.0.1:${server.addr.port}`,
    seen,
    options: { ...options },
    fault: undefined,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await server.shutdown();
    },
  };
  return self;
}

function refuse(request: Request, auth: GitServerOptions["auth"]): Response | null {
  if (!auth) return null;
  const { username = "x-access-token", token, scheme = "basic" } = auth;
  const wanted = scheme === "basic" ? `Basic ${btoa(`${username}:${token}`)}` : `Bearer ${token}`;
  if (request.headers.get("authorization") === wanted) return null;
  const challenge = scheme === "basic" ? 'Basic realm="Git, or bearer"' : 'Bearer realm="Git"';
  return new Response("no", { status: 401, headers: { "www-authenticate": challenge } });
}

/** See RFC 3875, and `git help http-backend`. */
async function runBackend(
  root: string,
  request: Request,
  body: Uint8Array,
  oldProtocol: boolean,
): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const protocol = request.headers.get("git-protocol");
  const child = new Deno.Command("git", {
    args: ["http-backend"],
    clearEnv: true,
    env: {
      ...PLAIN,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      PATH_INFO: pathname,
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers.get("content-type") ?? "",
      CONTENT_LENGTH: String(body.length),
      REMOTE_ADDR: "127.0.0.1",
      ...(protocol !== null && !oldProtocol && { GIT_PROTOCOL: protocol }),
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(body).catch(() => {}); // it may have refused without reading
  await writer.close().catch(() => {});
  const output = await child.output();
  const end = findBlankLine(output.stdout);
  const headers = new Headers();
  for (const line of new TextDecoder().decode(output.stdout.subarray(0, end)).split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const status = Number(headers.get("status")?.split(" ")[0] ?? 200);
  headers.delete("status");
  return new Response(output.stdout.subarray(end + 4), { status, headers });
}

function findBlankLine(bytes: Uint8Array): number {
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] === 13 && bytes[at + 1] === 10 && bytes[at + 2] === 13) return at;
  }
  return bytes.length;
}

function meter(
  entry: Seen,
  fault: Fault | null,
  stop: AbortSignal,
): TransformStream<Uint8Array, Uint8Array> {
  return new TransformStream({
    async transform(chunk, controller) {
      const room = fault && "after" in fault ? fault.after - entry.bytes : Infinity;
      const part = chunk.subarray(0, Math.max(0, room));
      entry.bytes += part.length;
      if (part.length > 0) controller.enqueue(part);
      if (part.length === chunk.length) return;
      if (fault?.kind === "stall") {
        await new Promise((resolve) => stop.addEventListener("abort", resolve, { once: true }));
      }
      // Less than the announced length: the platform cuts the connection.
      controller.terminate();
    },
  });
}

/** The whole environment of Git, so that nobody's own settings play a part. */
export const PLAIN = {
  ...Object.fromEntries(
    ["PATH", "HOME", "TMPDIR"].flatMap((name) =>
      Deno.env.has(name) ? [[name, Deno.env.get(name)!]] : []
    ),
  ),
  // Git would tidy up large repositories in the background, also while their folder is removed.
  GIT_CONFIG_COUNT: "1",
  GIT_CONFIG_KEY_0: "gc.auto",
  GIT_CONFIG_VALUE_0: "0",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "Ada",
  GIT_AUTHOR_EMAIL: "ada@example.com",
  GIT_COMMITTER_NAME: "Ada",
  GIT_COMMITTER_EMAIL: "ada@example.com",
  LC_ALL: "C",
};

/** Content by path; `null` removes the file. */
export type Files = Record<string, string | Uint8Array | null>;

/** A repository with a work tree, to be served as `<name>.git`. */
export class Repository {
  constructor(readonly folder: string) {}

  /** Runs git in the work tree. @returns what it printed, trimmed. */
  async git(...args: string[]): Promise<string> {
    return new TextDecoder().decode(await this.gitBytes(...args)).trim();
  }

  async gitBytes(...args: string[]): Promise<Uint8Array> {
    const command = new Deno.Command("git", {
      args,
      cwd: this.folder,
      clearEnv: true,
      env: PLAIN,
    });
    const { success, stdout, stderr } = await command.output();
    if (success) return stdout;
    throw new Error(`git ${args[0]} failed: ${new TextDecoder().decode(stderr)}`);
  }

  async write(files: Files): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      const file = join(this.folder, path);
      if (content === null) {
        await Deno.remove(file);
        continue;
      }
      await Deno.mkdir(join(file, ".."), { recursive: true });
      if (typeof content === "string") await Deno.writeTextFile(file, content);
      else await Deno.writeFile(file, content);
    }
  }

  /** Commits on the current branch, all that changed. @returns the commit's id. */
  async commit(files: Files = {}, ...args: string[]): Promise<string> {
    await this.write(files);
    await this.git("add", "--all");
    await this.git("commit", "--quiet", "--allow-empty", "-m", "change", ...args);
    return await this.head();
  }

  head(): Promise<string> {
    return this.git("rev-parse", "HEAD");
  }
}

/**
 * An empty repository below `root` with the branch `main`.
 *
 * @param init Further options of `git init`, such as `--object-format=sha256`.
 */
export async function makeRepository(
  root: string,
  name: string,
  ...init: string[]
): Promise<Repository> {
  const folder = join(root, `${name}.git`);
  await Deno.mkdir(folder, { recursive: true });
  const repository = new Repository(folder);
  await repository.git("init", "--quiet", "--initial-branch=main", ...init);
  return repository;
}

/** Flow files in folders of a hundred: `flows/g07/f123.yaml`. */
export function manyFiles(count: number): Files {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      const group = String(i % Math.ceil(count / 100)).padStart(2, "0");
      const text =
        `flow:\n  name: f${i}\n  tasks:\n    - log: { name: say, message: hello ${i} }\n`;
      return [`flows/g${group}/f${i}.yaml`, text];
    }),
  );
}
