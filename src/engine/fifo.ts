/** A first-in-first-out list that never moves its elements. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined; // let it go
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 1_024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Takes out all that match, in order. */
  remove(matches: (item: T) => boolean): T[] {
    const all = this.#items.slice(this.#head) as T[];
    const taken = all.filter(matches);
    if (taken.length > 0) {
      this.#items = all.filter((item) => !matches(item));
      this.#head = 0;
    }
    return taken;
  }
}
