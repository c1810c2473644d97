import { FlowError } from "../../core/errors.ts";
import { natsError } from "../../nats/errors.ts";
import { isUnheard } from "./publish.ts";

/**
 * Something that is opened by its first use, since nothing outside may change before, and again after a
 * failure: it may not have come up, or somebody took it away.
 */
export class Reopening<T> {
  #opening: Promise<T> | null = null;

  constructor(readonly open: () => Promise<T>) {}

  async use<R>(work: (opened: T) => Promise<R>): Promise<R> {
    const opening = this.#opening ??= this.open();
    try {
      return await work(await opening);
    } catch (cause) {
      const isEvents = cause instanceof FlowError && cause.remedy === "event";
      if (!isEvents && this.#opening === opening) this.#opening = null;
      throw cause;
    }
  }
}

/**
 * What a bucket threw, as an error of ours.
 *
 * @param what Completes "Cannot …", such as `put in the bucket "stock"`.
 */
export function bucketError(cause: unknown, what: string): FlowError {
  const error = natsError(cause, what);
  if (error === cause || !(isUnheard(cause) || error.code === "nats.stream_missing")) return error;
  return new FlowError("nats.no_stream", `Cannot ${what}: it is gone`, {
    hint: "it is created again at the next attempt",
    cause,
  });
}
