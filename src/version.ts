import manifest from "../deno.json" with { type: "json" };

/** Of this program, as in deno.json. */
export const version: string = manifest.version;
