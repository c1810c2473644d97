import { hashOf, isBefore, type Ranked, ranked } from "./rendezvous.ts";

/** How much more than its even share a node may have before others offer to take some. */
const SLACK = 1.1;

/**
 * Which node should run a flow: the first in its hash order. Hashing alone leaves one of three nodes
 * with half as much again now and then, so flows are counted, and a node with more than its share
 * gives to the next in order that has room.
 *
 * Two nodes must not both want a flow from one another. Every move goes to a node with room, and
 * either up in the flow's order or away from a node with too much, so moves come to an end.
 */
export class Placement {
  #nodes: readonly Ranked[] = [];
  /** Who has a flow, or will have it. */
  readonly #holders = new Map<string, string>();
  readonly #loads = new Map<string, number>();

  setNodes(ids: Iterable<string>): void {
    this.#nodes = [...ids].map(ranked);
  }

  /** How many nodes live. */
  get size(): number {
    return this.#nodes.length;
  }

  /** Notes who has a flow; `null`: nobody that lives. */
  assign(flow: string, node: string | null): void {
    const before = this.#holders.get(flow);
    if (before === (node ?? undefined)) return;
    if (before !== undefined) this.#loads.set(before, this.#loads.get(before)! - 1);
    if (node === null) this.#holders.delete(flow);
    else {
      this.#holders.set(flow, node);
      this.#loads.set(node, this.loadOf(node) + 1);
    }
  }

  loadOf(node: string): number {
    return this.#loads.get(node) ?? 0;
  }

  /** A node's place in the order of the live nodes for a name: 0 is first. */
  rank(name: string, id: string, except?: string): number {
    const own = ranked(id);
    const hash = hashOf(name);
    let place = 0;
    for (const node of this.#nodes) {
      if (node.id !== id && node.id !== except && isBefore(hash, node, own)) place++;
    }
    return place;
  }

  /**
   * Whether `node` should ask `owner` for a flow: `closer` when it comes first, `relief` when the owner
   * has too much, `null` when the flow is well where it is.
   */
  wants(flow: string, owner: string, node: string): "closer" | "relief" | null {
    if (this.#bestWithRoom(flow, owner) !== node) return null;
    if (isBefore(hashOf(flow), ranked(node), ranked(owner))) return "closer";
    return this.loadOf(owner) > this.#share() ? "relief" : null;
  }

  #bestWithRoom(flow: string, except: string): string | undefined {
    const hash = hashOf(flow);
    const share = this.#share();
    let best: Ranked | undefined;
    for (const node of this.#nodes) {
      if (node.id === except || this.loadOf(node.id) >= share) continue;
      if (!best || isBefore(hash, node, best)) best = node;
    }
    return best?.id;
  }

  #share(): number {
    return Math.ceil(SLACK * this.#holders.size / Math.max(1, this.#nodes.length));
  }
}
