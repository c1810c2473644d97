import type { TaskDefinition } from "../../flow/task.ts";
import { buffer } from "./buffer.ts";
import { convert } from "./convert.ts";
import { dedupe } from "./dedupe.ts";
import { filter } from "./filter.ts";
import { generate } from "./generate.ts";
import { iterate } from "./iterate.ts";
import { log } from "./log.ts";
import { script } from "./script.ts";
import { throttle } from "./throttle.ts";

/** Tasks that need nothing but the runtime. */
export const coreTasks: readonly TaskDefinition[] = [
  generate,
  script,
  iterate,
  buffer,
  log,
  convert,
  filter,
  throttle,
  dedupe,
];
