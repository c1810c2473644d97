/** Scenes in which a right runs out unless it is renewed in time. */
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";

const LOOK_EVERY = 20;
const MOST_TIMES = 10;

/**
 * Plays a scene that proves nothing where the machine stands still for longer than `most`
 * milliseconds: then what fails is played again, with everything new. Where time went by as it should,
 * a failure is one.
 *
 * @param scene Says with `watch` which server must not have stood still either.
 */
export async function steadily(
  most: number,
  scene: (watch: (url: string) => Promise<void>) => Promise<void>,
): Promise<void> {
  for (let times = 1;; times++) {
    const pauses = new Pauses();
    try {
      return await scene((url) => pauses.watch(url));
    } catch (cause) {
      const longest = await pauses.end();
      if (longest <= most || times === MOST_TIMES) throw cause;
      console.log(`again: all stood still for ${longest.toFixed(0)} ms`);
    } finally {
      await pauses.end();
    }
  }
}

/** Asks a server all the time, so that a pause of it is noticed like one of this process. */
class Pauses {
  #over = false;
  #longest = 0;
  #connection: NatsConnection | undefined;
  #watching: Promise<void> | undefined;

  async watch(url: string): Promise<void> {
    this.#connection = await connect({ servers: url, reconnect: false });
    this.#watching = this.#look(this.#connection);
  }

  /** The longest pause that was seen, in milliseconds. */
  async end(): Promise<number> {
    this.#over = true;
    await this.#watching;
    await this.#connection?.close();
    return this.#longest;
  }

  async #look(connection: NatsConnection): Promise<void> {
    // Its server ends with the scene, or earlier.
    const ended = connection.closed().then(() => {});
    let since = performance.now();
    while (!this.#over) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
      await Promise.race([connection.flush().catch(() => {}), ended]);
      const now = performance.now();
      this.#longest = Math.max(this.#longest, now - since - LOOK_EVERY);
      since = now;
    }
  }
}
