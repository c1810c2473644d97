import { FlowError } from "../../core/errors.ts";
import { basicHeader } from "./credentials.ts";

/** @throws {FlowError} `http.url_invalid` */
export function readUrl(text: string): URL {
  const url = URL.parse(text);
  if (url && (url.protocol === "https:" || url.protocol === "http:")) return url;
  // Passwords and queries may be secrets, so neither is shown.
  const shown = url ? `${url.protocol}…` : text.replace(/^.*@/, "").split(/[?#]/, 1)[0]!;
  throw new FlowError("http.url_invalid", `Cannot call "${shown}": it is not an http or https URL`);
}

/** Removes `user:password@` from the URL and gives it as a header; `fetch` takes no such URL. */
export function takeUserInfo(url: URL): string | undefined {
  if (url.username === "" && url.password === "") return undefined;
  const header = basicHeader(decode(url.username), decode(url.password));
  url.username = "";
  url.password = "";
  return header;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
