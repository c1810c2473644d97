import { defineCommand } from "./command.ts";
import { Exit } from "./exit.ts";

/** For compiled binaries, which have no script file that a child could be started with. */
export const scriptChild = defineCommand({
  about: "Runs scripts for a parent process. Not for people.",
  options: {},
  examples: [],
  async run() {
    const { runChild } = await import("../script/js/child.ts");
    await runChild();
    return Exit.ok;
  },
});
