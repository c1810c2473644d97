import { defaultConfig } from "../config/load.ts";
import { FlowError } from "../core/errors.ts";
import { taskDefinitions } from "../parts.ts";
import { CONFIG, defineCommand } from "./command.ts";
import { configPath, readConfig } from "./config_option.ts";
import { Exit } from "./exit.ts";

export const schema = defineCommand({
  args: "[flow|config]",
  most: 1,
  about: "Prints the JSON Schema of flow files (or, with config, of config.yaml) for editors.\n" +
    "With --config also the task types of its own modules.",
  options: { config: CONFIG },
  examples: ["flowgen schema > flow.schema.json", "flowgen schema config > config.schema.json"],
  async run(given, output) {
    const [what = "flow"] = given.args;
    const { configJsonSchema, flowJsonSchema } = await import("../flow/json_schema.ts");
    if (what === "config") {
      const { ConfigSchema } = await import("../config/schema.ts");
      output.printJson(await configJsonSchema(ConfigSchema));
    } else if (what === "flow") {
      const path = await configPath(given.value("config"));
      const config = path === undefined ? defaultConfig() : await readConfig(path);
      output.printJson(await flowJsonSchema((await taskDefinitions(config)).values()));
    } else {
      throw new FlowError("usage.unknown_schema", `There is no schema of "${what}"`, {
        hint: "write flowgen schema flow, or flowgen schema config",
      });
    }
    return Exit.ok;
  },
});
