/** Elected flows of a scene, and what owners that stand still or are cut off may not do. */
import assert from "node:assert/strict";
import type { HeldBack } from "./journal.ts";
import type { Node } from "./node.ts";
import { PATIENCE, type Scene } from "./scene.ts";

const PLAIN = 4;

/** A flow that counts in its state, and some that only run; all of them elected. */
export class Population {
  #generation = 0;

  private constructor(readonly scene: Scene) {}

  /** Puts them there, and waits until they run. */
  static async in(scene: Scene): Promise<Population> {
    const population = new Population(scene);
    await population.renew();
    return population;
  }

  /** The flow that writes with each attempt. */
  get counted(): string {
    return `counted-${this.#generation}`;
  }

  get all(): string[] {
    const plain = Array.from({ length: PLAIN }, (_, i) => `plain-${this.#generation}-${i}`);
    return [this.counted, ...plain];
  }

  /**
   * The same under other names, for tests that go on and on: a flow whose owners end again and again
   * is made to wait, rightly.
   */
  async renew(): Promise<void> {
    const old = this.#generation === 0 ? [] : this.all;
    this.#generation++;
    const { scene, counted } = this;
    const text = (name: string) => scene.elected({ state: name === counted });
    await scene.flows(Object.fromEntries(this.all.map((name) => [name, text(name)])));
    await Promise.all(old.map((name) => scene.dropFlow(name)));
    await scene.alive(this.all);
  }

  /** The owner of the flow that counts, with a write in its hands that it has not made yet. */
  async ownerAboutToWrite(): Promise<{ owner: Node; held: HeldBack }> {
    const held = await this.scene.journal.hold(
      ({ flow, kind }) => flow === this.counted && kind === "write",
      PATIENCE,
    );
    return { owner: this.scene.nodeOf(held.attempt), held };
  }

  /** Waits until the flow that counts runs elsewhere; milliseconds since `from`. */
  async takenOver(owner: Node, from: number): Promise<number> {
    const { journal } = this.scene;
    const attempt = await journal.next(
      ({ flow, pid }) => flow === this.counted && pid !== owner.pid,
      PATIENCE,
      `${this.counted} was not taken over from ${owner.name}\n${owner.log}`,
    );
    return journal.startOf(attempt) - from;
  }

  /**
   * Lets the write go on and waits for what becomes of it, which must not be that it was made. A new
   * owner has written before: until then an old write would still be one to go on from.
   */
  async refused(held: HeldBack): Promise<void> {
    const { attempt, pid } = held.attempt;
    const newer = await this.scene.journal.hold(
      (word) => word.flow === this.counted && word.pid !== pid && word.outcome === "done",
      PATIENCE,
    );
    newer.release();
    const ends = this.scene.journal.hold(
      (word) => word.kind === "end" && word.pid === pid && word.attempt === attempt,
      PATIENCE,
    );
    held.release();
    const end = await ends;
    end.release();
    assert.equal(end.attempt.outcome, "cluster.fenced");
  }

  /** This node sees all others as members, all flows go on, and never ran twice at once. */
  async wellAgain(node: Node): Promise<void> {
    await this.scene.members(this.scene.running.length, node);
    await this.scene.alive(this.all);
    this.scene.journal.check();
  }
}
