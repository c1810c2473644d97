import { type Config, loadConfig } from "../config/load.ts";
import { FlowError } from "../core/errors.ts";

const USUAL = "config.yaml";

/** The configuration that is meant: `--config`, else $CONFIG_PATH, else config.yaml if there is one. */
export async function configPath(option: string | undefined): Promise<string | undefined> {
  const named = option ?? (Deno.env.get("CONFIG_PATH") || undefined);
  if (named !== undefined) return named;
  const usual = await Deno.stat(USUAL).catch(() => null);
  return usual?.isFile ? USUAL : undefined;
}

/** @throws {FlowErrors} everything that is wrong with it */
export function readConfig(path: string): Promise<Config> {
  return loadConfig({ path, env: Deno.env.toObject() });
}

/** @throws {FlowError | FlowErrors} also `usage.no_config` */
export async function neededConfig(option: string | undefined): Promise<Config> {
  const path = await configPath(option);
  if (path === undefined) {
    throw new FlowError("usage.no_config", `There is no ${USUAL} in this folder`, {
      hint: "name the configuration with --config or in the variable CONFIG_PATH",
    });
  }
  return await readConfig(path);
}
