/** Packs and answers for tests, made by hand. */
import { createHash } from "node:crypto";
import { deflateSync } from "node:zlib";
import { concat } from "./bytes.ts";
import type { Fetch } from "./http.ts";
import type { GitObject } from "./objects.ts";
import type { SshKey } from "./ssh_key.ts";

export type PackEntry =
  | GitObject
  /** `back`: how many entries before this one its base is. */
  | { readonly type: "offset"; readonly back: number; readonly data: Uint8Array }
  | { readonly type: "ref"; readonly base: string; readonly data: Uint8Array };

const NUMBERS = { commit: 1, tree: 2, blob: 3, tag: 4, offset: 6, ref: 7 };

/** @param count What the header says, when that is wrong. */
export function makePack(entries: readonly PackEntry[], count = entries.length): Uint8Array {
  const head = new Uint8Array(12);
  head.set(text("PACK"));
  new DataView(head.buffer).setUint32(4, 2);
  new DataView(head.buffer).setUint32(8, count);
  const offsets: number[] = [];
  const parts: Uint8Array[] = [head];
  let at = head.length;
  for (const entry of entries) {
    offsets.push(at);
    const base = entry.type === "offset"
      ? encodeDistance(at - offsets.at(-1 - entry.back)!)
      : entry.type === "ref"
      ? Uint8Array.fromHex(entry.base)
      : new Uint8Array();
    const part = join(
      encodeHeader(NUMBERS[entry.type], entry.data.length),
      base,
      new Uint8Array(deflateSync(entry.data)),
    );
    parts.push(part);
    at += part.length;
  }
  return withChecksum(join(...parts));
}

export function withChecksum(pack: Uint8Array): Uint8Array {
  return join(pack, new Uint8Array(createHash("sha1").update(pack).digest()));
}

export function encodeHeader(type: number, size: number): Uint8Array {
  const bytes = [(type << 4) | (size & 15)];
  for (let left = Math.floor(size / 16); left > 0; left = Math.floor(left / 128)) {
    bytes[bytes.length - 1]! |= 0x80;
    bytes.push(left % 128);
  }
  return new Uint8Array(bytes);
}

function encodeDistance(distance: number): Uint8Array {
  const bytes = [distance % 128];
  for (let left = Math.floor(distance / 128); left > 0; left = Math.floor(left / 128)) {
    bytes.unshift(0x80 | (--left % 128));
  }
  return new Uint8Array(bytes);
}

/** A delta of copies `[from, size]` and new bytes. */
export function makeDelta(
  base: number,
  result: number,
  parts: readonly (readonly [from: number, size: number] | Uint8Array)[],
): Uint8Array {
  const encoded = parts.map((part) => {
    if (part instanceof Uint8Array) return join(new Uint8Array([part.length]), part);
    const [from, size] = part;
    const bytes = new Uint8Array(8);
    bytes[0] = 0xff;
    new DataView(bytes.buffer).setUint32(1, from, true);
    new DataView(bytes.buffer).setUint16(5, size & 0xffff, true);
    bytes[7] = size >> 16;
    return bytes;
  });
  return join(encodeSize(base), encodeSize(result), ...encoded);
}

function encodeSize(size: number): Uint8Array {
  const bytes = [size % 128];
  for (let left = Math.floor(size / 128); left > 0; left = Math.floor(left / 128)) {
    bytes[bytes.length - 1]! |= 0x80;
    bytes.push(left % 128);
  }
  return new Uint8Array(bytes);
}

export function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return concat(parts);
}

/** Signs like `ssh-keygen -Y sign`, with everything that can be said in other ways. */
export async function signSsh(
  message: Uint8Array,
  { namespace = "git", digest = "sha512", kind = "ssh-ed25519", type = "ssh-ed25519" } = {},
): Promise<{ key: SshKey; data: Uint8Array }> {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign"]) as CryptoKeyPair;
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const key: SshKey = { type, name: "ada", blob: join(sized(text(type)), sized(raw)) };
  const name = { sha256: "SHA-256", sha512: "SHA-512", sha1: "SHA-1" }[digest]!;
  const hash = await crypto.subtle.digest(name, message as Uint8Array<ArrayBuffer>);
  const common = join(sized(text(namespace)), sized(text("")), sized(text(digest)));
  const signed = join(text("SSHSIG"), common, sized(new Uint8Array(hash)));
  const bytes = signed as Uint8Array<ArrayBuffer>;
  const made = new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, bytes));
  const signature = join(sized(text(kind)), sized(made));
  const version = new Uint8Array([0, 0, 0, 1]);
  const data = join(text("SSHSIG"), version, sized(key.blob), common, sized(signature));
  return { key, data };
}

export function armored(signature: Uint8Array): string {
  const begin = "-----BEGIN SSH SIGNATURE-----";
  return `${begin}\n${signature.toBase64()}\n-----END SSH SIGNATURE-----\n`;
}

/** A string as SSH writes it. */
export function sized(bytes: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return join(length, bytes);
}

/** A server that speaks version 2 and answers each `fetch` with the next of `packs`. */
export function fakeServer(head: string, packs: readonly Uint8Array[]): Fetch {
  const left = [...packs];
  const packet = (data: Uint8Array) =>
    join(text((data.length + 4).toString(16).padStart(4, "0")), data);
  const line = (content: string) => packet(text(`${content}\n`));
  const flush = text("0000");
  return (url, init) => {
    const body = new TextDecoder().decode(init.body as Uint8Array<ArrayBuffer> | undefined);
    const answer = url.pathname.endsWith("/info/refs")
      ? [line("version 2"), line("ls-refs"), line("fetch=shallow"), flush]
      : body.includes("command=ls-refs")
      ? [line(`${head} refs/heads/main`), flush]
      : [line("packfile"), packet(join(new Uint8Array([1]), left.shift()!)), flush];
    const headers = { "content-type": "application/x-git-upload-pack-advertisement" };
    return Promise.resolve(new Response(join(...answer) as Uint8Array<ArrayBuffer>, { headers }));
  };
}

/** A folder's object. */
export function makeTree(entries: readonly (readonly [mode: string, name: string, id: string])[]) {
  const parts = entries.map(([mode, name, id]) =>
    join(text(`${mode} ${name}\0`), Uint8Array.fromHex(id))
  );
  return { type: "tree", data: join(...parts) } as const;
}
