import { createHash } from "node:crypto";

/** Bytes that are hashed as they pass. */
export class DigestCheck {
  readonly #hash;

  /** @param digest What the bytes must come to: `sha256:…` or `sha512:…`. */
  constructor(readonly digest: string) {
    this.#hash = createHash(digest.startsWith("sha512:") ? "sha512" : "sha256");
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** Whether they came to it; asked once, at the end. */
  fits(): boolean {
    return this.digest.endsWith(`:${this.#hash.digest("hex")}`);
  }
}

/** @param like A digest whose algorithm to use; SHA-256 without. */
export function digestOf(bytes: Uint8Array, like = "sha256:"): string {
  const algorithm = like.startsWith("sha512:") ? "sha512" : "sha256";
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}
