/** Runs things by name, each at most once at a time; what is asked for meanwhile runs once more. */
export class Again {
  /** Names under way, and whether they were asked for since. */
  readonly #running = new Map<string, boolean>();

  /** `run` must not reject. Resolves at once when it is under way already. */
  async run(name: string, run: () => Promise<void>): Promise<void> {
    if (this.#running.has(name)) return void this.#running.set(name, true);
    do {
      this.#running.set(name, false);
      await run();
    } while (this.#running.get(name));
    this.#running.delete(name);
  }
}
