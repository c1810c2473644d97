/**
 * Network namespaces of Linux, joined by a switch whose cables can be pulled. Needs root and iproute2.
 * The switch is a namespace too, so nothing of the machine's own network changes but one more interface.
 */

/** A place of its own on the network. */
export interface Place {
  readonly name: string;
  readonly address: string;
  /** Words in front of a command that shall run there. */
  readonly prefix: readonly string[];
}

export class Net implements AsyncDisposable {
  readonly #places = new Map<string, { namespace: string; port: string }>();
  #next = 10;

  private constructor(readonly id: string, readonly subnet: string) {}

  /** Whether namespaces can be made and joined here. */
  static async isPossible(): Promise<boolean> {
    try {
      await using net = await Net.open();
      await net.join("one");
      return true;
    } catch {
      return false;
    }
  }

  /** @throws when namespaces cannot be made here. */
  static async open(): Promise<Net> {
    const [a, b] = crypto.getRandomValues(new Uint8Array(2));
    const net = new Net(`fg${a!.toString(16)}${b!.toString(16)}`, `10.199.${a}`);
    try {
      await net.#setUp();
      return net;
    } catch (cause) {
      await net[Symbol.asyncDispose]();
      throw cause;
    }
  }

  async join(name: string): Promise<Place> {
    const namespace = `${this.id}-${name}`;
    const place = { namespace, port: `p-${name}` };
    const address = `${this.subnet}.${this.#next++}`;
    await ip("netns", "add", namespace);
    this.#places.set(name, place);
    await ip("-n", namespace, "link", "set", "lo", "up");
    await ip("-n", this.#switch, "link", "add", place.port, "type", "veth", "peer", "name", "eth");
    await ip("-n", this.#switch, "link", "set", "eth", "netns", namespace);
    await ip("-n", this.#switch, "link", "set", place.port, "master", "most", "up");
    await ip("-n", namespace, "addr", "add", `${address}/24`, "dev", "eth");
    await ip("-n", namespace, "link", "set", "eth", "up");
    return { name, address, prefix: ["ip", "netns", "exec", namespace] };
  }

  /** These places reach one another and nobody else; everything that is sent across is lost. */
  async part(names: readonly string[]): Promise<void> {
    for (const name of names) await this.#plug(name, "few");
  }

  /** All reach all. */
  async heal(): Promise<void> {
    for (const name of this.#places.keys()) await this.#plug(name, "most");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { namespace } of this.#places.values()) await ip("netns", "del", namespace);
    // It would go with the other end of its cable, but later, and its subnet with it.
    await ip("link", "del", this.id).catch(() => {});
    await ip("netns", "del", this.#switch).catch(() => {});
  }

  get #switch(): string {
    return `${this.id}-switch`;
  }

  async #setUp(): Promise<void> {
    await ip("netns", "add", this.#switch);
    for (const bridge of ["most", "few"]) {
      await ip("-n", this.#switch, "link", "add", bridge, "type", "bridge");
      await ip("-n", this.#switch, "link", "set", bridge, "up");
    }
    // The test itself is always with most.
    await ip("link", "add", this.id, "type", "veth", "peer", "name", "host", "netns", this.#switch);
    await ip("-n", this.#switch, "link", "set", "host", "master", "most", "up");
    await ip("addr", "add", `${this.subnet}.1/24`, "dev", this.id);
    await ip("link", "set", this.id, "up");
  }

  async #plug(name: string, bridge: string): Promise<void> {
    const { port } = this.#places.get(name)!;
    await ip("-n", this.#switch, "link", "set", port, "master", bridge);
  }
}

async function ip(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("ip", { args }).output();
  if (success) return;
  const text = new TextDecoder().decode(stderr).trim();
  throw new Error(`ip ${args.join(" ")}: ${text}; network namespaces need root and iproute2`);
}
