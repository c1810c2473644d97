/** See https://git-scm.com/docs/protocol-v2 */
import { version } from "../../version.ts";
import type { GitHttp } from "./http.ts";
import { formatNamed, type IdFormat } from "./objects.ts";
import { encodePackets, type Marker, PacketReader } from "./pkt_line.ts";
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

/** A server that speaks version 2 of the protocol. */
export class V2Remote implements Remote {
  readonly format: IdFormat;
  readonly canFilter: boolean;
  readonly #canShallow: boolean;
  readonly #capabilities: ReadonlyMap<string, string>;

  /** @throws {FlowError} `source.not_supported` */
  constructor(readonly http: GitHttp, capabilities: readonly string[]) {
    this.#capabilities = new Map(
      capabilities.map((line) => [line.split("=", 1)[0]!, line.slice(line.indexOf("=") + 1)]),
    );
    this.format = formatNamed(this.#capabilities.get("object-format"), http.label);
    const features = (this.#capabilities.get("fetch") ?? "").split(" ");
    this.canFilter = features.includes("filter");
    this.#canShallow = features.includes("shallow");
  }

  async refs(prefixes: readonly string[], signal?: AbortSignal): Promise<Ref[]> {
    const body = this.#command("ls-refs", [
      "peel",
      ...prefixes.map((prefix) => `ref-prefix ${prefix}`),
    ]);
    return await this.#post(body, signal, async (packets) => {
      const { lines } = await packets.lines(MOST_TEXT);
      return lines.flatMap((line) => {
        const [id, name, ...attributes] = line.split(" ");
        if (id === "unborn" || name === undefined) return [];
        const peeled = attributes.find((one) => one.startsWith("peeled:"))?.slice("peeled:".length);
        return [{ name, id: id!, peeled }];
      });
    });
  }

  async fetch(request: FetchRequest, signal?: AbortSignal): Promise<Uint8Array> {
    const { wants, have, thin, withoutFiles, onlyFiles, maxBytes } = request;
    const body = this.#command("fetch", [
      ...(thin ? ["thin-pack"] : []),
      "no-progress",
      "ofs-delta",
      ...(this.#canShallow && !onlyFiles ? ["deepen 1"] : []),
      ...(withoutFiles ? ["filter blob:none"] : []),
      ...wants.map((id) => `want ${id}`),
      // The server must not take us to have that commit's history too.
      ...(have ? [`shallow ${have}`, `have ${have}`] : []),
      "done",
    ]);
    return await this.#post(body, signal, async (packets) => {
      try {
        for (;;) {
          const section = await packets.nextLine();
          if (section === "packfile") return await readSideband(packets, maxBytes);
          if (section === null || section === "flush") throw new Error("its answer has no pack");
          await packets.lines(MOST_TEXT);
        }
      } catch (cause) {
        throw isNotThere(cause) ? new NotThere(wants, cause) : cause;
      }
    });
  }

  #command(name: string, args: readonly string[]): Uint8Array {
    const marker = (one: Marker) => ({ marker: one });
    return encodePackets([
      `command=${name}`,
      `agent=flowgen/${version}`,
      ...(this.#capabilities.has("object-format") ? [`object-format=${this.format.hash}`] : []),
      marker("delimiter"),
      ...args,
      marker("flush"),
    ]);
  }

  #post<T>(
    body: Uint8Array,
    signal: AbortSignal | undefined,
    read: (packets: PacketReader) => Promise<T>,
  ): Promise<T> {
    const request = { path: PATH, body, protocol: "version=2" } as const;
    return this.http.send(request, signal, ({ chunks }) => read(new PacketReader(chunks)));
  }
}
