import { FlowError } from "../core/errors.ts";
import { type FlowEvent, type Json, jsonView } from "../flow/event.ts";
import type { ReplyShape } from "../flow/flow.ts";
import type { HttpReply, Outcome, Reply } from "../flow/task.ts";
import type { Node } from "./graph.ts";

/** Place of a copy among its siblings, one number per expansion it came through. */
export type Path = readonly number[];

/** What is the same for all requests of one source. */
export interface ReplyPlan {
  readonly leaf: Node;
  readonly ancestors: ReadonlySet<Node>;
  readonly shape: ReplyShape | undefined;
}

/** Gathers what one request is answered with, and answers once. */
export class ReplyCollector {
  readonly promise: Promise<Reply>;
  #resolve!: (reply: Reply) => void;
  #answered = false;
  #items: { path: Path; event: FlowEvent }[] = [];
  #expanded = false;
  #accepted = false;
  #handled: { cause: unknown } | null = null;

  constructor(readonly plan: ReplyPlan) {
    this.promise = new Promise((resolve) => this.#resolve = resolve);
  }

  /** An event came out of `node`, a leaf. */
  leaf(node: Node, path: Path, event: FlowEvent): void {
    if (node === this.plan.leaf) this.#items.push({ path, event });
  }

  /** `node` made several of one. */
  expanded(node: Node): void {
    if (this.plan.ancestors.has(node) || node === this.plan.leaf) this.#expanded = true;
  }

  /** `node`, a buffer, took the event. */
  absorbed(node: Node): void {
    if (this.plan.ancestors.has(node) || node === this.plan.leaf) this.#accepted = true;
  }

  /** A failure went to an error branch. */
  handled(cause: unknown): void {
    this.#handled ??= { cause };
  }

  respond(response: HttpReply): boolean {
    return this.#answer({ kind: "response", response });
  }

  /**
   * The delivery ended or expired.
   *
   * @returns why the answer is a failure, where it is one; the log has to know what the caller does not.
   */
  settle(outcome: Outcome): { readonly cause: unknown } | null {
    if (this.#answered) return null;
    let reply: Reply;
    try {
      reply = this.#reply(outcome);
    } catch (cause) {
      reply = { kind: "failed", cause, handled: false };
    }
    this.#answer(reply);
    return reply.kind === "failed" ? reply : null;
  }

  #answer(reply: Reply): boolean {
    if (this.#answered) return false;
    this.#answered = true;
    this.#resolve(reply);
    return true;
  }

  #reply(outcome: Outcome): Reply {
    if (!outcome.ok) return { kind: "failed", cause: outcome.cause, handled: false };
    if (this.#handled) return { kind: "failed", cause: this.#handled.cause, handled: true };
    if (this.#accepted) return { kind: "accepted" };
    const { shape } = this.plan;
    if (shape === "none") return { kind: "none" };
    const items = this.#items;
    const isList = shape === "list" ||
      (shape === undefined && (this.#expanded || items.length > 1));
    if (isList) {
      items.sort((a, b) => comparePaths(a.path, b.path));
      return { kind: "list", items: items.map(({ event }): Json => jsonView(event.data)) };
    }
    if (items.length === 0) return { kind: "none" };
    if (items.length > 1) return { kind: "failed", cause: tooMany(items.length), handled: false };
    return { kind: "data", data: items[0]!.event.data };
  }
}

function comparePaths(a: Path, b: Path): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    if (a[i] !== b[i]) return a[i]! - b[i]!;
  }
  return a.length - b.length;
}

function tooMany(count: number): FlowError {
  return new FlowError("flow.reply_not_one", `Cannot answer with one event: ${count} came out`, {
    hint: "use reply: list, or let only one event reach the last task",
  });
}
