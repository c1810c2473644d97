/** `fetch` that counts what passes, and remembers the last request. */
export class CountingFetch {
  requests = 0;
  /** Bytes of the bodies of requests and answers. */
  sent = 0;
  received = 0;
  #last: readonly [URL | string, RequestInit] | undefined;

  readonly fetch = async (input: URL | string, init: RequestInit): Promise<Response> => {
    const { body } = init;
    this.requests++;
    if (body instanceof Uint8Array) this.sent += body.length;
    const { signal: _, ...rest } = init;
    this.#last = [input, rest];
    const response = await fetch(input, init);
    const counter = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        this.received += chunk.length;
        controller.enqueue(chunk);
      },
    });
    return new Response(response.body?.pipeThrough(counter) ?? null, response);
  };

  /** Sends the last request once more, by the platform alone, and reads the answer. */
  async repeat(): Promise<void> {
    const [input, init] = this.#last!;
    await (await fetch(input, init)).arrayBuffer();
  }

  /** What passed since the last call, such as `1 request, 60 B sent, 250 B received`. */
  taken(): string {
    const { requests, sent, received } = this;
    this.requests = this.sent = this.received = 0;
    return `${requests} ${requests === 1 ? "request" : "requests"}, ` +
      `${bytes(sent)} sent, ${bytes(received)} received`;
  }
}

function bytes(count: number): string {
  return count < 10_000 ? `${count} B` : `${(count / 1_000).toFixed(0)} KB`;
}
