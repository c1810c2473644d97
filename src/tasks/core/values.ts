import { type Data, isBytes } from "../../flow/event.ts";

/** What a value is, in the words of our error messages. */
export function kindOf(value: Data | undefined): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (isBytes(value)) return "bytes";
  if (Array.isArray(value)) return "a list";
  switch (typeof value) {
    case "string":
      return "text";
    case "number":
      return "a number";
    case "boolean":
      return "true or false";
    default:
      return "an object";
  }
}
