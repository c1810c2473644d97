/** Names every script knows besides `event` and `ctx`. */
export const HELPER_NAMES = [
  "print",
  "debug",
  "render",
  "parse_json",
  "parse_yaml",
  "parse_timestamp",
  "parse_rfc2822_timestamp",
  "timestamp_now",
  "timestamp_to_iso",
  "timestamp_format",
  "timestamp_to_year",
  "timestamp_to_month",
  "timestamp_to_day",
  "timestamp_to_hour",
  "timestamp_to_hive_path",
  "timestamp_round_to_hour",
  "uuid",
  "sha256",
  "sha512",
  "regex_match",
  "regex_replace",
  "regex_find",
] as const;

/**
 * Source of a factory that takes the helpers and gives the script as a function of `event` and `ctx`.
 * The body must have passed `prepare`. Its first line is line 2; `inside.lineOf` counts on that.
 */
export function wrapBody(body: string, isAsync: boolean): string {
  const head = isAsync ? "async function" : "function";
  return `(({${HELPER_NAMES.join(",")}}) => ${head} script(event, ctx) {"use strict";\n${body}\n})`;
}
