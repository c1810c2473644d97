/** A server with one repository, and sources that read it. */
import { systemClock } from "../../../src/core/clock.ts";
import { FlowError } from "../../../src/core/errors.ts";
import { silentLog } from "../../../src/core/log.ts";
import type { Snapshot } from "../../../src/flow/source.ts";
import { GitSource, type GitSourceOptions } from "../../../src/source/git/git.ts";
import {
  type GitServer,
  type GitServerOptions,
  makeRepository,
  type Repository,
  serveGit,
} from "./http_server.ts";

export const LIMITS = { maxFileSize: 1_000_000, maxTotalSize: 10_000_000, maxFiles: 20_000 };

export interface Given {
  readonly root: string;
  readonly server: GitServer;
  readonly repository: Repository;
  /** A source for the repository; its branch is `main`. */
  source(options?: Partial<GitSourceOptions>): GitSource;
  /** What was asked since the last call: `refs`, `fetch` or `discover`, and its status. */
  asked(): string[];
}

export interface GivenOptions extends GitServerOptions {
  /** Further options of `git init`. */
  readonly init?: readonly string[];
}

export async function withGit(
  { init = [], ...options }: GivenOptions,
  run: (given: Given) => Promise<void>,
): Promise<void> {
  const root = await Deno.makeTempDir();
  try {
    await using server = serveGit(root, options);
    const repository = await makeRepository(root, "flows", ...init);
    await run({
      root,
      server,
      repository,
      source: (options = {}) =>
        new GitSource({
          url: `${server.url}/flows.git`,
          ref: { branch: "main" },
          limits: LIMITS,
          clock: systemClock,
          log: silentLog,
          ...options,
        }),
      asked: () =>
        server.seen.splice(0).map(({ method, body, status }) =>
          `${method === "GET" ? "discover" : body.includes("ls-refs") ? "refs" : "fetch"} ${status}`
        ),
    });
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

/** Text by path; what is no UTF-8 as bytes. */
export function contents(snapshot: Snapshot | null): Record<string, string | Uint8Array> {
  return Object.fromEntries(
    [...snapshot?.files ?? []].map(([path, file]) => {
      try {
        return [path, file.text()];
      } catch {
        return [path, file.bytes()];
      }
    }),
  );
}

/** What a person would read. */
export async function failure(work: Promise<unknown>): Promise<FlowError> {
  try {
    await work;
  } catch (cause) {
    if (cause instanceof FlowError) return cause;
    throw cause;
  }
  throw new Error("it did not fail");
}

/** Code, message and hint, the server's address left out. */
export async function failureText(server: GitServer, work: Promise<unknown>): Promise<string[]> {
  const { code, message, hint } = await failure(work);
  return [code, message, ...(hint === undefined ? [] : [hint])]
    .map((text) => text.replaceAll(server.url, "http://host"));
}
