import { FlowError } from "../../core/errors.ts";
import { concat } from "./bytes.ts";
import { type GitObject, parseHeaders } from "./objects.ts";
import type { SshKey } from "./ssh_key.ts";
import { verifySshSignature } from "./ssh_signature.ts";

export interface Signed {
  readonly id: string;
  readonly commit: GitObject;
  /** The annotated tag that led to the commit. */
  readonly tag?: { readonly name: string; readonly object: GitObject };
}

/**
 * Makes sure that an allowed key signed the tag or, where it did not, the commit.
 *
 * @throws {FlowError} `source.unverified`
 */
export async function verifySigned(signed: Signed, allowed: readonly SshKey[]): Promise<SshKey> {
  const { id, commit, tag } = signed;
  if (tag) {
    const key = await keyOfTag(id, tag, allowed);
    if (key) return key;
  }
  const { message, signature } = splitCommit(commit.data);
  if (signature === undefined) throw unverified(id, "it is not signed");
  const verdict = await verifySshSignature(signature, message, allowed);
  if ("key" in verdict) return verdict.key;
  throw unverified(id, verdict.reason);
}

function unverified(id: string, reason: string): FlowError {
  return new FlowError("source.unverified", `Cannot trust the commit ${id}: ${reason}`, {
    hint: "sign it with an SSH key that verify.ssh_keys lists (git config gpg.format ssh)",
  });
}

async function keyOfTag(
  commit: string,
  { name, object }: NonNullable<Signed["tag"]>,
  allowed: readonly SshKey[],
): Promise<SshKey | undefined> {
  const headers = parseHeaders(object.data);
  // A signed tag says which name it has, so that an old one cannot come back under a new name.
  if (headers.get("object") !== commit || headers.get("tag") !== name) return undefined;
  const start = lastIndexOf(object.data, "-----BEGIN SSH SIGNATURE-----\n");
  if (start < 0) return undefined;
  const armored = new TextDecoder().decode(object.data.subarray(start));
  const verdict = await verifySshSignature(armored, object.data.subarray(0, start), allowed);
  return "key" in verdict ? verdict.key : undefined;
}

/** A commit's signature stands among its headers, and is left out of what it signs. */
function splitCommit(data: Uint8Array): { message: Uint8Array; signature?: string } {
  const kept: Uint8Array[] = [];
  let inside = false;
  let at = 0;
  while (at < data.length && data[at] !== LINE_FEED) {
    const next = endOfLine(data, at);
    // A signature in the repository's other format is left out as well.
    inside = data[at] === SPACE ? inside : startsWith(data, at, "gpgsig");
    if (!inside) kept.push(data.subarray(at, next));
    at = next;
  }
  kept.push(data.subarray(at));
  const headers = parseHeaders(data);
  const signature = headers.get("gpgsig") ?? headers.get("gpgsig-sha256");
  return { message: concat(kept), signature };
}

const LINE_FEED = 10;
const SPACE = 32;

function endOfLine(data: Uint8Array, at: number): number {
  const end = data.indexOf(LINE_FEED, at);
  return end < 0 ? data.length : end + 1;
}

function startsWith(data: Uint8Array, at: number, text: string): boolean {
  return new TextDecoder("latin1").decode(data.subarray(at, at + text.length)) === text;
}

/** Where a line of that text starts last, or -1. */
function lastIndexOf(data: Uint8Array, text: string): number {
  // One letter for each byte, so that places are the same.
  const at = new TextDecoder("latin1").decode(data).lastIndexOf(`\n${text}`);
  return at < 0 ? -1 : at + 1;
}
