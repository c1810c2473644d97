import type { CagedScript, Job } from "./job.ts";

/** Characters of events one batch may have: more would keep a child from its other flows. */
const BATCH_CHARS = 1024 * 1024;

/** Jobs that wait, handed out flow by flow in turn, so that a busy flow cannot starve a quiet one. */
export class FairQueue {
  /** In order of turns: whoever was served goes to the end. */
  readonly #flows = new Map<string, Map<CagedScript, Job[]>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(job: Job): void {
    const jobs = this.#jobsOf(job.script);
    jobs.push(job);
    this.#size++;
  }

  /** Puts jobs back in front of their own script's. */
  putBack(jobs: readonly Job[]): void {
    for (let i = jobs.length - 1; i >= 0; i--) {
      this.#jobsOf(jobs[i]!.script).unshift(jobs[i]!);
      this.#size++;
    }
  }

  /** Jobs of one script, the next in turn; as many as are there, up to `most`. */
  take(most: number): Job[] {
    for (const [flow, scripts] of this.#flows) {
      const [script, jobs] = scripts.entries().next().value!;
      let chars = 0;
      let count = 0;
      while (count < jobs.length && count < most) {
        chars += jobs[count]!.text.length;
        if (count > 0 && chars > BATCH_CHARS) break;
        count++;
      }
      const taken = jobs.splice(0, count);
      this.#size -= taken.length;
      scripts.delete(script);
      if (jobs.length > 0) scripts.set(script, jobs);
      this.#flows.delete(flow);
      if (scripts.size > 0) this.#flows.set(flow, scripts);
      return taken.filter((job) => !job.done);
    }
    return [];
  }

  /** Everything of one script, or of all. */
  drain(script?: CagedScript): Job[] {
    const all: Job[] = [];
    for (const [flow, scripts] of this.#flows) {
      for (const [one, jobs] of scripts) {
        if (script !== undefined && one !== script) continue;
        all.push(...jobs);
        scripts.delete(one);
      }
      if (scripts.size === 0) this.#flows.delete(flow);
    }
    this.#size -= all.length;
    return all;
  }

  #jobsOf(script: CagedScript): Job[] {
    const { flow } = script.source;
    let scripts = this.#flows.get(flow);
    if (!scripts) this.#flows.set(flow, scripts = new Map());
    let jobs = scripts.get(script);
    if (!jobs) scripts.set(script, jobs = []);
    return jobs;
  }
}
