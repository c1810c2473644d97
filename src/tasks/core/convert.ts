import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { derive } from "../../flow/event.ts";
import { Text } from "../../flow/schema.ts";
import { defineTask } from "../../flow/task.ts";
import { formats } from "./formats.ts";

const names = formats.map((format) => format.name);
/** Formats of Flowgen that are still to come. */
const later = new Set<unknown>(["avro", "arrow"]);

/** Changes the kind of the data: JSON, text, bytes. */
export const convert = defineTask({
  type: "convert",
  mode: "sync",
  summary: "Converts data between JSON, text and bytes.",
  config: v.strictObject({
    target_format: v.pipe(
      v.picklist(
        names,
        ({ input, received }) =>
          later.has(input)
            ? `The format ${received} is not available in this version`
            : `Expected one of ${names.map((name) => `"${name}"`).join(", ")}`,
      ),
      v.description(
        "`json` parses bytes and text as JSON and leaves other values as they are; `text` decodes " +
          "bytes as UTF-8; `bytes` encodes text as UTF-8. JSON values become compact JSON text.",
      ),
    ),
    schema: v.optional(
      v.pipe(Text, v.description("Schema for `avro` and `arrow`, which are not available yet.")),
    ),
  }),
  examples: [
    {
      title: "Parse the text of a message",
      config: { target_format: "json" },
      input: ['{"id": 1}', { id: 2 }],
      output: [{ id: 1 }, { id: 2 }],
    },
    {
      title: "Compact JSON text for a queue",
      config: { target_format: "text" },
      input: [{ id: 1 }, "as it is"],
      output: ['{"id":1}', "as it is"],
    },
  ],
  check({ config, locate }) {
    if (config.schema === undefined) return;
    throw new FlowError(
      "config.unused_key",
      `"schema" has no meaning with the format "${config.target_format}"`,
      { position: locate(["schema"]) },
    );
  },
  create({ config, name }) {
    const format = formats.find((format) => format.name === config.target_format)!;
    return (event, emit) => emit(derive(event, { data: format.from(event.data), subject: name }));
  },
});
