/** A body that turned out longer than allowed; a value, since either side names it differently. */
export const TOO_LARGE = Symbol("body too large");

export interface ReadWatch {
  /** Stops reading; the body is cancelled. */
  readonly signal: AbortSignal;
  /** Hears how many bytes there are by now. */
  arrived(size: number): void;
}

/**
 * Reads a body up to `limit` bytes. What is longer is cancelled, never collected.
 *
 * @throws Whatever the stream fails with, or the signal's reason.
 */
export async function readBounded(
  body: ReadableStream<Uint8Array> | null,
  limit: number,
  watch?: ReadWatch,
): Promise<Uint8Array<ArrayBuffer> | typeof TOO_LARGE> {
  if (!body) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = body.getReader();
  const stop = () => reader.cancel().catch(() => {});
  watch?.signal.addEventListener("abort", stop, { once: true });
  for (;;) {
    const { done, value } = await reader.read();
    watch?.signal.throwIfAborted(); // What was cancelled ends as if it were complete.
    if (done) break;
    size += value.byteLength;
    if (size > limit) {
      await stop();
      return TOO_LARGE;
    }
    chunks.push(value);
    watch?.arrived(size);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

/** Reads at most `limit` bytes and drops the rest; for error messages. */
export async function readStart(
  body: ReadableStream<Uint8Array> | null,
  limit: number,
): Promise<string> {
  if (!body) return "";
  const decoder = new TextDecoder();
  let text = "";
  const reader = body.getReader();
  while (text.length < limit) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel().catch(() => {});
  return text.slice(0, limit);
}
