import { parseDocument } from "../flow/document.ts";
import { isObject } from "../flow/schema_walk.ts";
import type { RuntimeStatus } from "../runtime.ts";
import { flowTable } from "./flow_table.ts";
import type { Paint } from "./paint.ts";
import { hasControl, visible } from "./visible.ts";

const WITH_BODY = new Set(["POST", "PUT", "PATCH"]);

export interface ScreenOptions {
  /** As given by `--config`, for the commands that are shown. */
  readonly config: string | undefined;
  /** `http_server.hostname`. */
  readonly hostname: string | undefined;
  readonly paint: Paint;
}

/** What a person sees once everything has started: what runs, and how to try it. */
export async function firstScreen(
  status: RuntimeStatus,
  { config, hostname, paint }: ScreenOptions,
): Promise<string> {
  const { bold, dim } = paint;
  const parts = [`${bold(`flowgen ${status.version}`)} is running`];
  parts.push(
    status.flows.length > 0 ? flowTable(status.flows, paint) : "There are no flows yet.",
  );
  const calls = await curlLines(status, hostOf(hostname));
  if (calls.length > 0) {
    parts.push([bold("Try it"), ...calls.map((call) => `  ${call}`)].join("\n"));
  }
  const facts: [string, string][] = [];
  if (status.health) facts.push(["Health", `http://localhost:${status.health.port}/readyz`]);
  facts.push(["Store", visible(status.store)]);
  // Whoever sets the socket from outside has to say it there too.
  const socket = Deno.env.get("FLOWGEN_CONTROL__PATH");
  const look = socket === undefined ? [] : [`FLOWGEN_CONTROL__PATH=${socket}`];
  look.push("flowgen status", ...(config === undefined ? [] : [`--config ${config}`]));
  facts.push(["Look inside", look.join(" ")]);
  facts.push(["Stop", "Ctrl-C"]);
  parts.push(facts.map(([name, value]) => `${dim(name.padEnd(12))} ${value}`).join("\n"));
  return `\n${parts.join("\n\n")}\n`;
}

/** How this machine reaches what listens there. */
function hostOf(hostname: string | undefined): string {
  if (!hostname || hostname === "0.0.0.0" || hostname === "::") return "localhost";
  return hostname.includes(":") ? `[${hostname}]` : hostname;
}

/** Ready to paste, one for each endpoint. */
async function curlLines({ http, flows }: RuntimeStatus, host: string): Promise<string[]> {
  if (!http) return [];
  const files = new Map(flows.map(({ identity, file }) => [identity, file]));
  const endpoints = http.endpoints.toSorted((a, b) => a.path < b.path ? -1 : 1);
  return await Promise.all(endpoints.map(async ({ method, path, flow }) => {
    const example = await exampleOf(files.get(flow));
    const shown = typeof example.path === "string" ? example.path : path;
    const url = quoted(`http://${host}:${http.port}${http.path}${shown}`);
    if (!WITH_BODY.has(method)) return `curl ${OPTIONS[method] ?? `-X ${method} `}${url}`;
    const body = example.body ?? {};
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const type = typeof body === "string" ? "text/plain" : "application/json";
    const how = method === "POST" ? "" : `-X ${method} `;
    return `curl ${how}${url} -H 'content-type: ${type}' -d ${quoted(text)}`;
  }));
}

const OPTIONS: Record<string, string> = { GET: "", HEAD: "-I " };

/** As a shell reads it back; control characters in the way of bash and zsh, which spells them out. */
function quoted(text: string): string {
  if (hasControl(text)) {
    return `$'${visible(text.replaceAll("\\", "\\\\").replaceAll("'", "\\'"))}'`;
  }
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** `labels.example` of a flow file: the `path` and `body` that its author suggests to send. */
async function exampleOf(
  file: string | undefined,
): Promise<{ readonly path?: unknown; readonly body?: unknown }> {
  if (file === undefined) return {};
  try {
    let value = (await parseDocument(await Deno.readTextFile(file), file)).value;
    for (const key of ["flow", "labels", "example"]) {
      value = isObject(value) ? value[key] : undefined;
    }
    return isObject(value) ? value : {};
  } catch {
    return {}; // It was readable a moment ago; the screen can do without.
  }
}
