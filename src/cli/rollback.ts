import { defaultConfig } from "../config/load.ts";
import { FlowError } from "../core/errors.ts";
import { CONFIG, defineCommand } from "./command.ts";
import { configPath, readConfig } from "./config_option.ts";
import { Exit } from "./exit.ts";
import { publishedText } from "./published_text.ts";
import { withWorkspaces } from "./workspace_access.ts";

export const rollback = defineCommand({
  args: "<workspace> [version]",
  most: 2,
  about:
    "Makes an earlier version live again: the one that is named, by its first characters, or\n" +
    "the one before. What was live is held: its source cannot bring it again before it has\n" +
    "something newer, or flowgen sync --force is called. Asks the running node, or changes its\n" +
    "store when none runs.",
  options: { config: CONFIG },
  examples: ["flowgen rollback acme", "flowgen rollback acme 0a1b2c3d4e5f"],
  async run(given, output) {
    const [workspace, version] = given.args;
    if (workspace === undefined) {
      throw new FlowError("usage.missing_argument", "Name the workspace to roll back", {
        hint: "see flowgen workspaces for those that are there",
      });
    }
    const path = await configPath(given.value("config"));
    const config = path === undefined ? defaultConfig() : await readConfig(path);
    const published = await withWorkspaces(config, (found) => found.rollback(workspace, version));
    if (output.json) output.printJson(published);
    else output.print(publishedText(published, output.paint));
    return Exit.ok;
  },
});
