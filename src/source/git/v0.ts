/** See https://git-scm.com/docs/http-protocol and https://git-scm.com/docs/pack-protocol */
import { version } from "../../version.ts";
import { readAdvertisement } from "./advertisement.ts";
import type { GitHttp } from "./http.ts";
import { formatNamed, type IdFormat } from "./objects.ts";
import { encodePackets, PacketReader } from "./pkt_line.ts";
import {
  type FetchRequest,
  isNotThere,
  MOST_TEXT,
  NotThere,
  readSideband,
  type Ref,
  type Remote,
} from "./remote.ts";

const PATH = "/git-upload-pack";

const ID = /^[0-9a-f]{40,64}$/;
const WANTED = ["side-band-64k", "no-progress", "ofs-delta", "shallow"];

/** Ends the name of a line that says what an annotated tag stands for. */
const PEELED = "^{}";

/**
 * A server that does not know version 2 of the protocol: it lists all its branches and tags each
 * time, and what we have already is sent again.
 */
export class V0Remote implements Remote {
  readonly format: IdFormat;
  readonly canFilter = false;
  /** As the server listed them when it was found; spent by the first reader. */
  #listed: readonly string[] | undefined;

  readonly #features: ReadonlySet<string>;

  constructor(readonly http: GitHttp, lines: readonly string[]) {
    this.#listed = lines;
    this.#features = new Set((lines[0]?.split("\0")[1] ?? "").trim().split(" "));
    const format = [...this.#features].find((one) => one.startsWith("object-format="));
    this.format = formatNamed(format?.slice("object-format=".length), http.label);
  }

  async refs(_prefixes: readonly string[], signal?: AbortSignal): Promise<Ref[]> {
    const lines = this.#listed ?? (await readAdvertisement(this.http, signal)).lines;
    this.#listed = undefined;
    const refs = lines.map((line) => {
      const [id, name] = line.split("\0", 1)[0]!.split(" ");
      return { id: id!, name: name ?? "" };
    });
    const peeled = new Map(
      refs.filter(({ name }) => name.endsWith(PEELED))
        .map(({ name, id }) => [name.slice(0, -PEELED.length), id]),
    );
    return refs.filter(({ id, name }) => ID.test(id) && !name.endsWith(PEELED))
      .map((ref) => ({ ...ref, peeled: peeled.get(ref.name) }));
  }

  async fetch({ wants, maxBytes }: FetchRequest, signal?: AbortSignal): Promise<Uint8Array> {
    const shallow = this.#features.has("shallow");
    const features = WANTED.filter((one) => this.#features.has(one)).join(" ");
    const body = encodePackets([
      ...wants.map((id, at) =>
        at === 0 ? `want ${id} ${features} agent=flowgen/${version}` : `want ${id}`
      ),
      ...(shallow ? ["deepen 1"] : []),
      { marker: "flush" },
      "done",
    ]);
    return await this.http.send({ path: PATH, body }, signal, async ({ chunks }) => {
      const packets = new PacketReader(chunks);
      try {
        if (shallow) await packets.lines(MOST_TEXT); // where history was cut off
        await packets.next(); // that we have nothing in common
        return await readSideband(packets, maxBytes);
      } catch (cause) {
        throw isNotThere(cause) ? new NotThere(wants, cause) : cause;
      }
    });
  }
}
