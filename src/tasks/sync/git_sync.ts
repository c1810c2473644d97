import * as v from "valibot";
import { FlowError } from "../../core/errors.ts";
import { defineTask } from "../../flow/task.ts";
import { Filled, isOneOf, limitsOf, syncFields } from "./fields.ts";
import { syncRun } from "./sync.ts";

const Config = v.strictObject({
  repository_url: v.pipe(
    Filled,
    v.regex(/^https?:\/\//i, 'Expected an address such as "https://host/team/flows.git"'),
    v.description("https or http address of the repository, without credentials."),
  ),
  branch: v.optional(v.pipe(
    Filled,
    v.description("Branch to read; `main` when tag, commit and semver are left out too."),
  )),
  tag: v.optional(v.pipe(Filled, v.description("Tag to read."))),
  commit: v.optional(v.pipe(Filled, v.description("Full id of the commit to read."))),
  semver: v.optional(v.pipe(
    Filled,
    v.description('Range of versions; the newest tag in it is read, such as "^1.2".'),
  )),
  path: v.optional(v.pipe(
    Filled,
    v.description("Folder or file inside the repository; paths in events count from the folder."),
  )),
  clone_path: v.optional(v.pipe(
    v.string(),
    v.description(
      "Accepted for flows from Flowgen and without effect: nothing is written to disk.",
    ),
  )),
  credentials_path: v.optional(v.pipe(
    Filled,
    v.description("JSON file with `token` and, if it is another than x-access-token, `username`."),
  )),
  verify: v.optional(v.pipe(
    v.strictObject({
      ssh_keys: v.optional(v.pipe(v.array(Filled), v.minLength(1))),
      ssh_keys_path: v.optional(Filled),
    }),
    isOneOf("Expected one of ssh_keys and ssh_keys_path"),
    v.description(
      "`ssh_keys` or `ssh_keys_path`: public keys, one of which must have signed the commit or its " +
        "tag. What is not signed so is an error.",
    ),
  )),
  ...syncFields,
});

/**
 * Reads the files of a commit whenever an event comes, and emits them if the commit is another one
 * than that whose events were done last. Nothing is emitted when nothing changed.
 *
 * With `emit: files` each event is `{ path, content, commit }`. A file that is not UTF-8 is an event
 * of bytes with `path` and `commit` added to its `meta`. All files of the commit come, changed or not:
 * what is gone is what no event of the batch names.
 *
 * With `emit: snapshot` the one event is `{ version, commit, files, problems }`, each file
 * `{ path, content }` or, where it is not UTF-8, `{ path, base64 }`. It is as large as the files are
 * together; `max_total_size` bounds it.
 */
export const gitSync = defineTask({
  type: "git_sync",
  mode: "async",
  concurrency: 1,
  summary: "Emits the files of a Git repository when they have changed.",
  config: Config,
  examples: [
    {
      title: "All files below a folder of a branch",
      config: {
        repository_url: "https://github.com/acme/flows.git",
        branch: "production",
        path: "queries",
        credentials_path: "/run/secrets/git.json",
      },
    },
    {
      title: "The newest release, as one event, if one of us has signed it",
      config: {
        repository_url: "https://github.com/acme/flows.git",
        semver: "^1.2",
        emit: "snapshot",
        verify: { ssh_keys_path: "/run/secrets/allowed_keys" },
      },
    },
  ],
  check({ config: { branch, tag, commit, semver }, locate }) {
    const given = Object.entries({ branch, tag, commit, semver })
      .flatMap(([name, value]) => value === undefined ? [] : [name]);
    if (given.length <= 1) return;
    throw new FlowError("config.unused_key", `Cannot follow ${given.join(" and ")} at once`, {
      hint: "write one of branch, tag, commit and semver",
      position: locate([given[1]!]),
    });
  },
  async create(context) {
    const { config, credentials } = context;
    const { repository_url: url, branch, tag, commit, semver, path, verify } = config;
    if (config.clone_path !== undefined) {
      context.log.warning("clone_path has no effect here: nothing is written to disk");
    }
    const chosen = tag ?? commit ?? semver;
    return await syncRun(context, {
      remote: {
        git: {
          url,
          branch: branch ?? (chosen === undefined ? "main" : undefined),
          tag,
          commit,
          semver,
          path,
        },
        credentials_path: config.credentials_path && credentials(config.credentials_path),
        verify: verify && {
          ...verify,
          ssh_keys_path: verify.ssh_keys_path && credentials(verify.ssh_keys_path),
        },
        limits: limitsOf(config),
      },
      force: config.force_pull,
      emit: config.emit,
      ofFile: (_, snapshot) => ({ commit: snapshot.commit! }),
      ofSnapshot: (snapshot) => ({ commit: snapshot.commit! }),
    });
  },
});
