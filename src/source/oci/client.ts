import * as v from "valibot";
import type { Clock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { headerText } from "../header.ts";
import type { Answer } from "./answer.ts";
import { type Action, Auth } from "./auth.ts";
import { readBlob } from "./blob.ts";
import { digestOf } from "./digest.ts";
import type { Logins } from "./login.ts";
import { ACCEPT, type Descriptor, type Document, LARGEST_MANIFEST } from "./manifest.ts";
import { isDigest, type Reference } from "./reference.ts";
import { type Call, type Fetch, Transport } from "./transport.ts";

export interface ClientOptions {
  readonly reference: Reference;
  /** What will be done; tokens are asked for accordingly. */
  readonly action?: Action;
  readonly logins?: Logins;
  readonly clock: Clock;
  readonly fetch: Fetch;
}

/** A request below `/v2/<repository>/`, or to a URL that the registry gave. */
export interface Ask extends Omit<Call, "url" | "authorization"> {
  readonly path: string | URL;
}

const TagList = v.object({ tags: v.nullish(v.array(v.string()), []) });

const NOT_FOUND = "check its name; registries also say so to those who may not see it";

/** Pages of a list, bytes of each, and of all together: some 200,000 tags. */
const MOST_PAGES = 1_000;
const LARGEST_PAGE = 4 * 1024 * 1024;
const LARGEST_LIST = 32 * 1024 * 1024;

/**
 * One repository of a registry, spoken to by the distribution specification:
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
 *
 * Every call may throw `source.unavailable`, `source.auth_failed`, `source.credentials_invalid`.
 */
export class RegistryClient {
  readonly #reference: Reference;
  readonly #transport: Transport;
  readonly #auth: Auth;

  constructor({ reference, action = "pull", logins, clock, fetch }: ClientOptions) {
    this.#reference = reference;
    this.#transport = new Transport({ fetch, clock });
    this.#auth = new Auth({ reference, action, logins, transport: this.#transport, clock });
  }

  /** Where the registry answers for this repository. */
  url(path: string | URL): URL {
    const { origin, repository } = this.#reference;
    return path instanceof URL ? path : new URL(`${origin}/v2/${repository}/${path}`);
  }

  /** Sends with what proves who we are; the caller looks at the status, which is never 401 or 403. */
  async ask({ path, ...call }: Ask): Promise<Answer> {
    const url = this.url(path);
    // Upload addresses may lead elsewhere; proof is for the registry alone.
    const own = url.origin === this.#reference.origin;
    const { signal } = call;
    let sent = own ? await this.#auth.header(signal) : undefined;
    let answer = await this.#transport.send({ ...call, url, authorization: sent });
    if (answer.status === 401 && own) {
      await answer.cancel();
      sent = await this.#auth.answer(answer, sent, signal);
      answer = await this.#transport.send({ ...call, url, authorization: sent });
    }
    if (answer.status !== 401 && answer.status !== 403) return answer;
    await answer.cancel();
    throw this.#auth.failed(
      answer.status === 403
        ? "there is no right to do so (403)"
        : sent === undefined
        ? "it wants credentials"
        : "it does not accept the credentials (401)",
    );
  }

  /**
   * The digest a tag stands for, by one request without a body.
   *
   * @returns `null` when the registry does not say it this way.
   * @throws {FlowError} `source.ref_missing`, `source.not_found`
   */
  async head(tag: string, signal?: AbortSignal): Promise<string | null> {
    const path = `manifests/${tag}`;
    const answer = await this.ask({ method: "HEAD", path, headers: { accept: ACCEPT }, signal });
    await answer.cancel();
    if (answer.status === 404) {
      // Only an answer with a body says what is missing.
      await this.document(tag, signal);
      return null;
    }
    const digest = answer.headers.get("docker-content-digest");
    return answer.status === 200 && digest !== null && isDigest(digest) ? digest : null;
  }

  /**
   * A manifest or index by tag or digest, checked against the digest.
   *
   * @throws {FlowError} `source.ref_missing`, `source.not_found`, `source.digest_mismatch`,
   * `source.too_large`
   */
  async document(ref: string, signal?: AbortSignal): Promise<Document> {
    const answer = await this.#get(`manifests/${ref}`, ACCEPT, signal);
    if (answer.status === 404) throw await this.#missing(answer, ref);
    return await this.#readDocument(answer, ref);
  }

  /** The same, where it may well be missing. */
  async findDocument(ref: string, signal?: AbortSignal): Promise<Document | null> {
    const answer = await this.#get(`manifests/${ref}`, ACCEPT, signal);
    if (answer.status !== 404) return await this.#readDocument(answer, ref);
    await answer.cancel();
    return null;
  }

  /**
   * A blob's bytes as they come in; the last step throws when they were not those of the digest.
   * A connection that breaks is taken up again where it broke.
   *
   * @throws {FlowError} `source.digest_mismatch`, `source.corrupt`, `source.not_found`
   */
  blob(descriptor: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const what = `${this.#reference.name}@${descriptor.digest}`;
    return readBlob(descriptor, what, (from) =>
      this.ask({
        method: "GET",
        path: `blobs/${descriptor.digest}`,
        headers: from > 0 ? { range: `bytes=${from}-` } : {},
        signal,
      }));
  }

  /** All tags. @throws {FlowError} `source.not_found`, `source.corrupt` */
  async tags(signal?: AbortSignal): Promise<string[]> {
    const pages = await this.findPages("tags/list?n=1000", "application/json", signal);
    if (!pages) {
      throw new FlowError("source.not_found", `There is no repository ${this.#reference.name}`, {
        hint: NOT_FOUND,
      });
    }
    return pages.flatMap((page) => {
      const parsed = v.safeParse(TagList, page);
      if (parsed.success) return parsed.output.tags;
      throw this.#corrupt("the list of tags");
    });
  }

  /**
   * JSON answers along their `Link: <…>; rel="next"`.
   *
   * @returns `null` when there is no such list, or none in this kind of registry.
   * @throws {FlowError} `source.corrupt`, `source.too_large`
   */
  async findPages(path: string, accept: string, signal?: AbortSignal): Promise<unknown[] | null> {
    const pages: unknown[] = [];
    const what = `a list of ${this.#reference.name}`;
    let left = LARGEST_LIST;
    for (let next: URL | null = this.url(path); next;) {
      if (pages.length === MOST_PAGES) throw this.#corrupt(`a list of over ${MOST_PAGES} pages`);
      const answer: Answer = await this.#get(next, accept, signal);
      if (answer.status !== 200) {
        await answer.cancel();
        return null;
      }
      const bytes = await answer.bytes(Math.min(LARGEST_PAGE, left), what);
      left -= bytes.length;
      try {
        pages.push(JSON.parse(new TextDecoder().decode(bytes)));
      } catch {
        throw this.#corrupt("a list");
      }
      next = this.#nextPage(answer.headers.get("link"), next);
    }
    return pages;
  }

  /** An error for an answer that makes no sense where it came. */
  async #unexpected(answer: Answer, what: string): Promise<FlowError> {
    await answer.cancel();
    const { name, registry } = this.#reference;
    return new FlowError(
      "source.not_supported",
      `Cannot use ${what} of ${name}: ${registry} answered ${answer.status}`,
      { hint: "check that a registry of the OCI distribution specification is at this address" },
    );
  }

  async #get(path: string | URL, accept: string, signal?: AbortSignal): Promise<Answer> {
    return await this.ask({ method: "GET", path, headers: { accept }, signal });
  }

  async #readDocument(answer: Answer, ref: string): Promise<Document> {
    const what = `the manifest of ${this.#at(ref)}`;
    if (answer.status !== 200) throw await this.#unexpected(answer, "a manifest");
    const bytes = await answer.bytes(LARGEST_MANIFEST, what);
    const said = answer.headers.get("docker-content-digest");
    const wanted = isDigest(ref) ? ref : said !== null && isDigest(said) ? said : null;
    const digest = digestOf(bytes, wanted ?? undefined);
    if (wanted !== null && digest !== wanted) {
      throw new FlowError(
        "source.digest_mismatch",
        `Cannot use ${what}: it should have the digest ${wanted} and has ${digest}`,
        { hint: "the registry, or a proxy before it, changes what was pushed" },
      );
    }
    return { digest, bytes, mediaType: answer.headers.get("content-type") ?? "" };
  }

  /** A 404: of the repository, or of what is asked for in it. */
  async #missing(answer: Answer, ref: string): Promise<FlowError> {
    const bytes = await answer.bytes(LARGEST_PAGE, "an answer").catch(() => new Uint8Array());
    if (new TextDecoder().decode(bytes).includes('"NAME_UNKNOWN"')) {
      return new FlowError("source.not_found", `There is no repository ${this.#reference.name}`, {
        hint: NOT_FOUND,
      });
    }
    return new FlowError("source.ref_missing", `There is no ${this.#at(ref)}`, {
      hint: "check the tag or digest, or push it",
    });
  }

  #at(ref: string): string {
    return `${this.#reference.name}${isDigest(ref) ? "@" : ":"}${ref}`;
  }

  #corrupt(what: string): FlowError {
    return new FlowError("source.corrupt", `Cannot read ${what} of ${this.#reference.name}`);
  }

  #nextPage(header: string | null, from: URL): URL | null {
    const target = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(headerText(header))?.[1];
    const next = target === undefined ? null : URL.parse(target, from);
    // Somewhere else would be asked with our proof.
    return next && next.origin === from.origin ? next : null;
  }
}
