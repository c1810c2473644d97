import type { TaskDefinition } from "../../flow/task.ts";
import { httpEndpoint } from "./http_endpoint.ts";
import { httpRequest } from "./http_request.ts";
import { httpRespond } from "./http_respond.ts";

/** Task types of HTTP. */
export const httpTasks: readonly TaskDefinition[] = [httpEndpoint, httpRequest, httpRespond];
