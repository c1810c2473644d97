import type { FlowEvent } from "../flow/event.ts";
import type { Emit } from "../flow/task.ts";
import type { Copy } from "./delivery.ts";
import type { Node } from "./graph.ts";
import type { Port } from "./port.ts";
import type { Target } from "./room.ts";

/** Events that a task emits one by one, as what comes behind has room. */
export interface Expansion {
  readonly iterator: Iterator<FlowEvent>;
  readonly event: FlowEvent;
  readonly copy: Copy;
  readonly node: Node;
  readonly next: Emit;
  readonly targets: readonly Target[];
  index: number;
  /** Whether it counts as a copy of its own, which it does once it had to wait. */
  held: boolean;
}

/** @param out The way out of `node`, which expands the event of `copy`. */
export function expansionOf(
  { node, out }: { readonly node: Node; readonly out: Port },
  copy: Copy,
  events: Iterable<FlowEvent>,
): Expansion {
  return {
    iterator: events[Symbol.iterator](),
    event: copy.event!,
    copy,
    node,
    next: out.emit,
    targets: out.targets,
    index: 0,
    held: false,
  };
}

/** Lets an iterator that is not pulled to its end let go of what it holds. */
export function close(iterator: Iterator<FlowEvent>): void {
  try {
    iterator.return?.();
  } catch {
    // Its delivery has ended already.
  }
}
