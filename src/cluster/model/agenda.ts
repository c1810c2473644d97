interface Step {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Time that stands still between steps: a heap of what happens when. */
export class Agenda {
  now = 0;
  readonly #steps: Step[] = [];
  #order = 0;

  after(ms: number, run: () => void): void {
    const steps = this.#steps;
    const step = { at: this.now + ms, order: this.#order++, run };
    let at = steps.push(step) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isSooner(steps[parent]!, step)) break;
      steps[at] = steps[parent]!;
      at = parent;
    }
    steps[at] = step;
  }

  runUntil(end: number): void {
    while (this.step(end));
  }

  /** Does the next thing that happens until `end`; `false` when there is none. */
  step(end: number): boolean {
    if (this.#steps.length === 0 || this.#steps[0]!.at > end) {
      this.now = end;
      return false;
    }
    const step = this.#pop();
    this.now = step.at;
    step.run();
    return true;
  }

  #pop(): Step {
    const steps = this.#steps;
    const first = steps[0]!;
    const last = steps.pop()!;
    if (steps.length === 0) return first;
    let at = 0;
    while (true) {
      let child = 2 * at + 1;
      if (child >= steps.length) break;
      if (child + 1 < steps.length && isSooner(steps[child + 1]!, steps[child]!)) child++;
      if (isSooner(last, steps[child]!)) break;
      steps[at] = steps[child]!;
      at = child;
    }
    steps[at] = last;
    return first;
  }
}

function isSooner(a: Step, b: Step): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
