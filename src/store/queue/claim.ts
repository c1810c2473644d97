import type { Claim } from "../../flow/queue.ts";

/** An event that was handed out; of what settles it, only the first call goes through. */
export function claimOf(
  facts: Omit<Claim, "ack" | "nak" | "giveBack">,
  settling: Pick<Claim, "ack" | "nak" | "giveBack">,
): Claim {
  let isSettled = false;
  const once =
    <A extends unknown[]>(settle: (...args: A) => Promise<void>) =>
    async (...args: A): Promise<void> => {
      if (isSettled) return;
      isSettled = true;
      await settle(...args);
    };
  return {
    ...facts,
    ack: once(settling.ack),
    nak: once(settling.nak),
    giveBack: once(settling.giveBack),
  };
}
