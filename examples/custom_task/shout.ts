import * as v from "valibot";
import { defineTask, derive, FlowError } from "../../mod.ts";

/** Writes a field in capitals. */
export const shout = defineTask({
  type: "shout",
  mode: "sync",
  summary: "Writes a text field in capitals.",
  config: v.strictObject({
    field: v.pipe(v.string(), v.description("Top-level field that holds text.")),
  }),
  examples: [{
    title: "Shout a name",
    config: { field: "name" },
    input: [{ id: 1, name: "Ada" }],
    output: [{ id: 1, name: "ADA" }],
  }],
  create({ config: { field }, name }) {
    return (event, emit) => {
      const data = event.data as Record<string, string>;
      const text = data[field];
      if (typeof text !== "string") {
        throw new FlowError("event.field_invalid", `Expected text in "${field}"`);
      }
      emit(derive(event, { data: { ...data, [field]: text.toUpperCase() }, subject: name }));
    };
  },
});
