import { FlowError } from "../../core/errors.ts";

/**
 * The address of a repository over HTTP, without a slash at the end.
 *
 * @throws {FlowError} `source.url_invalid`; texts never hold user, password or query.
 */
export function readGitUrl(text: string): URL {
  const scp = /^(?:[^@/:]+@)([^/:]+):(?!\/\/)(.+)$/.exec(text);
  if (scp) throw invalid("an SSH address", `write https://${scp[1]}/${scp[2]}`);
  const url = URL.parse(text);
  if (!url) throw invalid("no URL", "write the whole address, such as https://host/team/flows.git");
  if (url.protocol === "ssh:" || url.protocol === "git+ssh:") {
    throw invalid("an SSH address", `write https://${url.hostname}${url.pathname}`);
  }
  if (url.protocol === "file:") {
    throw invalid("a folder of this machine", "set flows.path to read files of this machine");
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw invalid(`a ${url.protocol.slice(0, -1)} address`, "use an https address");
  }
  if (url.username !== "" || url.password !== "") {
    throw invalid("an address with credentials in it", 'put {"token": "..."} in a file instead');
  }
  if (url.search !== "" || url.hash !== "") {
    throw invalid("an address with ? or # in it", "name the branch or tag in a field of its own");
  }
  url.pathname = url.pathname.replace(/\/+$/, "");
  return url;
}

function invalid(what: string, hint: string): FlowError {
  return new FlowError("source.url_invalid", `Cannot read a Git repository from ${what}`, { hint });
}

/** As it may appear in messages. */
export function showUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}
