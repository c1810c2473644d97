/** Runs at most so many things at once; the others wait in the order they came. */
export class Limiter {
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(readonly most: number) {}

  async run<T>(run: () => Promise<T>): Promise<T> {
    if (this.#running >= this.most) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#running++;
    try {
      return await run();
    } finally {
      // The place goes to the next in line, which does not count itself again.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
  }
}
