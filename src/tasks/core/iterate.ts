import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { type Data, derive, type FlowEvent, isBytes, type Json } from "../../flow/event.ts";
import { kindOf } from "../../flow/kind.ts";
import { defineTask } from "../../flow/task.ts";

/** Sends the elements of a list on one by one, as the tasks behind have room. */
export const iterate = defineTask({
  type: "iterate",
  mode: "sync",
  summary: "Emits one event per element of a list.",
  config: v.strictObject({
    iterate_key: v.optional(v.pipe(
      v.string(),
      v.nonEmpty(),
      v.description(
        "Where the list is: a key, or a dotted path such as `result.items`. Left out, the data " +
          "itself is the list.",
      ),
    )),
  }),
  examples: [
    {
      title: "One event per record of a response",
      config: { iterate_key: "result.items" },
      input: [{ result: { items: [{ id: 1 }, { id: 2 }] } }],
      output: [{ id: 1 }, { id: 2 }],
    },
    {
      title: "The data itself is a list",
      config: {},
      input: [["a", "b"], []],
      output: ["a", "b"],
    },
  ],
  create({ config: { iterate_key: key }, name }) {
    return (event, _emit, call) => {
      const list = key === undefined ? event.data : atPath(event.data, key);
      if (!Array.isArray(list)) {
        const place = key === undefined ? "as data" : `at "${key}"`;
        throw new FlowError("event.not_a_list", `Expected a list ${place}, got ${kindOf(list)}`, {
          hint: isBytes(list) ? "convert the bytes to json first" : undefined,
        });
      }
      call.expand(elements(event, list, name));
    };
  },
});

function* elements(event: FlowEvent, list: readonly Json[], subject: string): Iterable<FlowEvent> {
  for (const data of list) yield derive(event, { data, subject });
}

/** A key that has dots itself, as Flowgen's users may have, comes before the path. */
function atPath(data: Data, path: string): Data | undefined {
  return child(data, path) ?? path.split(".").reduce<Data | undefined>(child, data);
}

function child(data: Data | undefined, key: string): Data | undefined {
  const isTree = typeof data === "object" && data !== null && !isBytes(data);
  return isTree && Object.hasOwn(data, key) ? (data as Record<string, Json>)[key] : undefined;
}
