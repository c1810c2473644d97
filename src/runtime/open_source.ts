import { type Config, findingAt } from "../config/load.ts";
import type { Log } from "../core/log.ts";
import type { OpenRemote, RemoteSource } from "../flow/remote.ts";

/**
 * Opens one of `sources:`. Nothing is asked of its server yet.
 *
 * @throws {FlowErrors} what is wrong in the configuration, with its line.
 */
export async function openSource(
  config: Config,
  index: number,
  open: OpenRemote,
  log: Log,
): Promise<RemoteSource> {
  const source = config.sources[index]!;
  try {
    return await open(source, log);
  } catch (cause) {
    const { code } = cause as { code?: string };
    const part = code === "source.key_invalid" || code === "source.key_unreadable" ||
        code === "source.verify_invalid"
      ? "verify"
      : source.git
      ? "git"
      : "oci";
    throw findingAt(config, ["sources", index, part], cause);
  }
}
