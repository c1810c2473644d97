import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { derive, type FlowEvent, type Json } from "../../flow/event.ts";
import { defineTask } from "../../flow/task.ts";
import type { Published } from "../../flow/workspace.ts";
import { readSnapshot } from "./snapshot_event.ts";

const Config = v.strictObject({
  workspace: v.pipe(
    v.string(),
    v.regex(
      /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/,
      "Expected up to 64 letters, digits, - and _, starting with a letter or digit",
    ),
    v.description("Name of the workspace to publish to; none of `sources:` in config.yaml."),
  ),
  prefix: v.optional(v.pipe(
    v.string(),
    v.regex(
      /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/,
      'Expected a prefix such as "team" or "team/a", without "/" at its ends',
    ),
    v.description("In front of the identities of its flows."),
  )),
  activate: v.optional(
    v.pipe(
      v.picklist(["all_valid", "each"]),
      v.description(
        "`all_valid`: a version with a broken flow does not go live. `each`: its other flows do.",
      ),
    ),
    "all_valid",
  ),
  force: v.optional(
    v.pipe(
      v.boolean(),
      v.description("Activates also what was rejected or rolled back, and writes all files again."),
    ),
    false,
  ),
});

/**
 * Makes a snapshot, as `emit: snapshot` gives it, the live version of a workspace: its flows run on
 * all nodes, all of the old version or all of the new.
 *
 * What comes next is `{ workspace, version, outcome, active, findings }`. An `outcome` of `activated`
 * or `unchanged` is live; `rejected` and `held` are stored and are not, and `findings` say why. `stale`
 * is one that a newer snapshot overtook while it was tried again: it is left alone.
 */
export const workspacePublish = defineTask({
  type: "workspace_publish",
  mode: "async",
  concurrency: 1,
  summary: "Publishes a snapshot of flows and resources.",
  config: Config,
  examples: [{
    title: "Behind git_sync or oci_sync with emit: snapshot",
    config: { workspace: "acme", prefix: "acme" },
  }],
  create({ config, name, services: { workspaces } }) {
    const { workspace, prefix, activate, force } = config;
    if (!workspaces) {
      throw new FlowError("workspace.not_available", "There are no workspaces to publish to here");
    }
    // Of two snapshots the later one shall be live in the end, also when the earlier one has to be
    // tried again, which lets others pass.
    const places = new WeakMap<FlowEvent, number>();
    let came = 0;
    let last: { readonly place: number; readonly published: Published } | null = null;
    let turn: Promise<unknown> = Promise.resolve();

    async function publish(event: FlowEvent, place: number): Promise<Published> {
      const snapshot = readSnapshot(event.data);
      if (last && place < last.place) {
        const { version } = snapshot;
        return { ...last.published, version, outcome: "stale", findings: [] };
      }
      const published = await workspaces!.publish(workspace, snapshot, { prefix, activate, force });
      last = { place, published };
      return published;
    }

    return async (event) => {
      const place = places.get(event) ?? ++came;
      places.set(event, place);
      const published = turn.then(() => publish(event, place));
      turn = published.catch(() => {});
      return derive(event, { data: { ...await published } as unknown as Json, subject: name });
    };
  },
});
