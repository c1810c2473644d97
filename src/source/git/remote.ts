import { FlowError } from "../../core/errors.ts";
import { Gatherer } from "../gather.ts";
import type { IdFormat } from "./objects.ts";
import { type PacketReader, ServerError } from "./pkt_line.ts";

/** A branch or tag. */
export interface Ref {
  /** Such as `refs/heads/main`. */
  readonly name: string;
  readonly id: string;
  /** What an annotated tag stands for. */
  readonly peeled?: string;
}

export interface FetchRequest {
  /** Objects to send, with all that hangs on them. */
  readonly wants: readonly string[];
  /** A commit whose files we have all of. */
  readonly have?: string;
  /** Whether deltas may be written against objects of `have`. */
  readonly thin?: boolean;
  /** Whether a commit's files are left out, to be asked for one by one. */
  readonly withoutFiles?: boolean;
  /** Whether the wants are files rather than commits. */
  readonly onlyFiles?: boolean;
  /** Length of the pack at most. */
  readonly maxBytes: number;
}

/** A repository as one version of the protocol shows it. */
export interface Remote {
  readonly format: IdFormat;
  /** Whether `withoutFiles` works. */
  readonly canFilter: boolean;
  /** Branches and tags whose full names begin with one of `prefixes`; may be more. */
  refs(prefixes: readonly string[], signal?: AbortSignal): Promise<Ref[]>;
  /**
   * The objects of commits without their history, as a pack.
   *
   * @throws {FlowError} `source.unavailable`, `source.too_large`
   * @throws {NotThere} when the server has no such object, or does not give it away.
   */
  fetch(request: FetchRequest, signal?: AbortSignal): Promise<Uint8Array>;
}

/** The server has no such object, or does not give it away. */
export class NotThere extends FlowError {
  constructor(wants: readonly string[], cause?: unknown) {
    super("source.ref_missing", `Cannot find the commit "${wants[0]}" on the server`, {
      hint: "push it; some servers give only commits that a branch or tag leads to",
      cause,
    });
  }
}

/** No answer that lists branches and tags is longer: some 200,000 of them. */
export const MOST_TEXT = 32 * 1024 * 1024;

/** Progress is not asked for; what is left are the pack and errors. */
const BAND_PACK = 1;
const BAND_ERROR = 3;

/**
 * The pack out of an answer in which it comes together with the server's words.
 *
 * @throws {FlowError} `source.unavailable`, `source.too_large`
 */
export async function readSideband(packets: PacketReader, maxBytes: number): Promise<Uint8Array> {
  const pack = new Gatherer();
  for (;;) {
    const packet = await packets.next();
    if (packet === "flush") return pack.whole();
    if (!(packet instanceof Uint8Array)) throw new Error("its answer ended too early");
    if (packet[0] === BAND_ERROR) {
      throw new ServerError(new TextDecoder().decode(packet.subarray(1)));
    }
    if (packet[0] !== BAND_PACK) continue;
    if (pack.length + packet.length - 1 > maxBytes) {
      throw new FlowError(
        "source.too_large",
        `Cannot read the commit: its pack is longer than ${maxBytes} bytes`,
        {
          hint: "raise max_total_size, or keep large files in another repository",
        },
      );
    }
    pack.add(packet.subarray(1));
  }
}

/** Tells a refusal that is about the object from all others. */
export function isNotThere(cause: unknown): boolean {
  return cause instanceof ServerError && /not our ref|unadvertised object/i.test(cause.message);
}
