import type { Emit, HttpReply } from "../flow/task.ts";
import type { Copy, Delivery } from "./delivery.ts";
import type { Target } from "./room.ts";

/** A way into a fused segment, and what may be full behind it. */
export interface Port {
  readonly emit: Emit;
  readonly targets: readonly Target[];
}

/** Answers the request behind a delivery; for a batch, the requests of all its members. */
export function respondTo(delivery: Delivery, reply: HttpReply): boolean {
  if (delivery.reply) return delivery.reply.respond(reply);
  const members = "members" in delivery.origin ? delivery.origin.members as readonly Copy[] : [];
  return members.map((member) => respondTo(member.delivery, reply)).some((answered) => answered);
}

export const NOWHERE: Port = { emit: () => {}, targets: [] };

/** One way to all of them. */
export function join(ports: readonly Port[]): Port {
  if (ports.length < 2) return ports[0] ?? NOWHERE;
  const emits = ports.map((port) => port.emit);
  return {
    emit: (event) => {
      for (const emit of emits) emit(event);
    },
    targets: unique(ports.flatMap((port) => port.targets)),
  };
}

export function unique<T>(items: readonly T[]): T[] {
  return [...new Set(items)];
}
