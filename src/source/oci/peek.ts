/**
 * The first bytes of a stream, and the stream as if nobody had looked.
 *
 * @param least How many bytes to see; fewer come back when the stream is shorter.
 */
export async function peek(
  bytes: AsyncIterable<Uint8Array>,
  least: number,
): Promise<{ head: Uint8Array; all: AsyncGenerator<Uint8Array> }> {
  const iterator = bytes[Symbol.asyncIterator]();
  const seen: Uint8Array[] = [];
  let length = 0;
  while (length < least) {
    const { value, done } = await iterator.next();
    if (done) break;
    seen.push(value);
    length += value.length;
  }
  const head = new Uint8Array(Math.min(least, length));
  let at = 0;
  for (const part of seen) {
    head.set(part.subarray(0, head.length - at), at);
    at += Math.min(part.length, head.length - at);
  }
  return { head, all: resumed(seen, iterator) };
}

async function* resumed(
  seen: Uint8Array[],
  iterator: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* seen.splice(0);
    for (;;) {
      const { value, done } = await iterator.next();
      if (done) return;
      yield value;
    }
  } finally {
    await iterator.return?.();
  }
}
