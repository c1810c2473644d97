import { defaultConfig } from "../config/load.ts";
import type { WorkspaceView } from "../flow/workspace.ts";
import { CONFIG, defineCommand } from "./command.ts";
import { configPath, readConfig } from "./config_option.ts";
import { Exit } from "./exit.ts";
import type { Paint } from "./paint.ts";
import { findingLines } from "./published_text.ts";
import { shortVersion } from "./version_text.ts";
import { visible } from "./visible.ts";
import { aligned, widthsOf } from "./words.ts";
import { withWorkspaces } from "./workspace_access.ts";

export const workspaces = defineCommand({
  about: "Shows the versions of flows that sources and flows have published: which one is live,\n" +
    "which ones there are to go back to, and why others were rejected. Asks the running node, or\n" +
    "works on its store when none runs.",
  options: {
    config: CONFIG,
    remove: {
      value: "workspace",
      about: "Take this one away instead, with all its versions: its flows end.",
    },
  },
  examples: ["flowgen workspaces", "flowgen workspaces --remove acme"],
  async run(given, output) {
    const path = await configPath(given.value("config"));
    const config = path === undefined ? defaultConfig() : await readConfig(path);
    const removed = given.value("remove");
    if (removed !== undefined) {
      await withWorkspaces(config, (found) => found.remove(removed));
      if (output.json) output.printJson({ workspace: removed, removed: true });
      else output.print(`${visible(removed)} was removed`);
      return Exit.ok;
    }
    const views = await withWorkspaces(config, (found) => found.list());
    if (output.json) output.printJson(views);
    else output.print(views.length > 0 ? table(views, output.paint) : "There are no workspaces.");
    return Exit.ok;
  },
});

function table(views: readonly WorkspaceView[], paint: Paint): string {
  const versions = views.flatMap(({ name, versions }) => versions.map((one) => ({ name, ...one })));
  const rows = versions.map(({ name, version, state, time, files }) => [
    visible(name),
    visible(shortVersion(version)),
    state,
    time.replace(/\.\d+Z$/, "Z"),
    String(files),
  ]);
  const heads = ["WORKSPACE", "VERSION", "STATE", "PUBLISHED", "FILES"];
  const widths = widthsOf([heads, ...rows]);
  return [
    paint.dim(aligned(heads, widths)),
    ...versions.flatMap(({ findings }, at) => [
      aligned(rows[at]!, widths),
      ...findingLines(findings, paint),
    ]),
  ].join("\n");
}
