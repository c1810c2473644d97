/**
 * `deno task bench:sources [git|oci|publish …] [--scale=0.1]`: bringing flows from Git and OCI into the
 * store, beside native tools of the same run; under three minutes for all.
 */
import { benchGit } from "./sources_git.ts";
import { benchOci } from "./sources_oci.ts";
import { benchPublish } from "./sources_publish.ts";
import { runSuites } from "./suites.ts";

await runSuites({ git: benchGit, oci: benchOci, publish: benchPublish });
