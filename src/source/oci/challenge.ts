import { headerText } from "../header.ts";

/** One challenge of a `WWW-Authenticate` header; names of parameters are in lower case. */
export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string;
  readonly params: ReadonlyMap<string, string>;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const PARAM = new RegExp(
  `\\s*,?\\s*(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))`,
  "y",
);
const SCHEME = new RegExp(`\\s*,?\\s*(${TOKEN})(?=\\s|,|$)(?!\\s*=)`, "y");

/** Challenges in the order of the header (RFC 9110, 11.6.1); what cannot be read ends the list. */
export function parseChallenges(header: string | null): Challenge[] {
  const challenges: Challenge[] = [];
  const text = headerText(header);
  let at = 0;
  const next = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match) at = pattern.lastIndex;
    return match;
  };
  for (let scheme = next(SCHEME); scheme; scheme = next(SCHEME)) {
    const params = new Map<string, string>();
    for (let param = next(PARAM); param; param = next(PARAM)) {
      const value = param[2]?.replace(/\\(.)/g, "$1") ?? param[3]!;
      params.set(param[1]!.toLowerCase(), value);
    }
    challenges.push({ scheme: scheme[1]!.toLowerCase(), params });
  }
  return challenges;
}
