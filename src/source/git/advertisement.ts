import { FlowError } from "../../core/errors.ts";
import type { GitHttp } from "./http.ts";
import { PacketReader } from "./pkt_line.ts";
import { MOST_TEXT } from "./remote.ts";

const PATH = "/info/refs?service=git-upload-pack";

/** What a server says about itself and, before version 2, about its branches and tags. */
export interface Advertisement {
  readonly version: number;
  readonly lines: readonly string[];
}

/**
 * @throws {FlowError} `source.not_supported` for what is no Git server, and like `GitHttp.send`.
 */
export function readAdvertisement(http: GitHttp, signal?: AbortSignal): Promise<Advertisement> {
  const request = { path: PATH, protocol: "version=2" } as const;
  return http.send(request, signal, async ({ contentType, chunks }) => {
    if (!contentType.startsWith("application/x-git-upload-pack-advertisement")) {
      const message = `Cannot read from ${http.label}: it is no Git server`;
      throw new FlowError("source.not_supported", message, {
        hint: "check the address; a repository behind a plain file server needs git http-backend",
      });
    }
    const packets = new PacketReader(chunks);
    let { lines } = await packets.lines(MOST_TEXT);
    if (lines[0]?.startsWith("# service=")) lines = (await packets.lines(MOST_TEXT)).lines;
    const version = /^version (\d+)$/.exec(lines[0] ?? "")?.[1];
    return { version: Number(version ?? 0), lines: version === undefined ? lines : lines.slice(1) };
  });
}
