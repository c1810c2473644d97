import { readAdvertisement } from "./advertisement.ts";
import type { GitHttp } from "./http.ts";
import type { Remote } from "./remote.ts";
import { V0Remote } from "./v0.ts";
import { V2Remote } from "./v2.ts";

/**
 * Asks which version of the protocol the server speaks. Costs one request.
 *
 * @throws {FlowError} `source.not_supported` for what is no Git server, and like `GitHttp.send`.
 */
export async function discover(http: GitHttp, signal?: AbortSignal): Promise<Remote> {
  const { version, lines } = await readAdvertisement(http, signal);
  return version === 2 ? new V2Remote(http, lines) : new V0Remote(http, lines);
}
