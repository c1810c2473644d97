import { defaultConfig } from "../config/load.ts";
import { FlowError } from "../core/errors.ts";
import type { Published } from "../flow/workspace.ts";
import { CONFIG, defineCommand } from "./command.ts";
import { configPath, readConfig } from "./config_option.ts";
import { askNode } from "./control_client.ts";
import { Exit } from "./exit.ts";
import { publishedText } from "./published_text.ts";

/** Longer than a node gives a check, milliseconds. */
const PATIENCE = 11 * 60_000;

export const sync = defineCommand({
  args: "<source>",
  most: 1,
  about:
    "Asks a source of the running node for a new version now and waits until it is live, or\n" +
    "rejected, which is exit code 1. A node asks all its sources when it starts, so without one\n" +
    "there is nothing to do.",
  options: {
    config: CONFIG,
    force: {
      about: "Activate also what was rejected or rolled back, and write all files again.",
    },
  },
  examples: ["flowgen sync acme", "flowgen sync acme --force"],
  async run(given, output) {
    const [source] = given.args;
    if (source === undefined) {
      throw new FlowError("usage.missing_argument", "Name the source to ask", {
        hint: "see flowgen status for those of the running node",
      });
    }
    const path = await configPath(given.value("config"));
    const config = path === undefined ? defaultConfig() : await readConfig(path);
    const published = await askNode(
      config.control.path,
      `/sources/${encodeURIComponent(source)}/sync`,
      { body: { force: given.flag("force") }, patience: PATIENCE },
    ) as Published;
    if (output.json) output.printJson(published);
    else output.print(publishedText(published, output.paint));
    return published.outcome === "activated" || published.outcome === "unchanged"
      ? Exit.ok
      : Exit.failure;
  },
});
