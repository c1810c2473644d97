/** A proxy before a registry that does it some harm. */

export interface Passing {
  readonly request: Request;
  readonly url: URL;
  /** Asks the registry; its answer may be changed on the way back. */
  pass(): Promise<Response>;
}

/** What happens to a request; `pass()` when nothing shall. */
export type Fault = (passing: Passing) => Promise<Response> | Response;

export class FaultProxy implements AsyncDisposable {
  /** `METHOD path` of all requests. */
  readonly log: string[] = [];
  fault: Fault = ({ pass }) => pass();
  readonly #server;

  /** @param target `host:port` of the registry. */
  constructor(readonly target: string) {
    this.#server = Deno.serve(
      {
        hostname: "127.0.0.1",
        port: 0,
        onListen() {},
        onError: () => new Response(null, { status: 502 }),
      },
      (request) => {
        const url = new URL(request.url);
        this.log.push(`${request.method} ${url.pathname}`);
        return this.fault({ request, url, pass: () => this.#pass(request, url) });
      },
    );
  }

  /** `127.0.0.1:port`, the first part of references. */
  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  async #pass(request: Request, url: URL): Promise<Response> {
    const headers = new Headers(request.headers);
    headers.set("host", url.host); // so that addresses in answers lead here
    return await fetch(`http://${this.target}${url.pathname}${url.search}`, {
      method: request.method,
      headers,
      body: request.body ? await request.bytes() : undefined,
      redirect: "manual",
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** The answer with a body that breaks off after some bytes. */
export function cutAfter(answer: Response, bytes: number): Response {
  let left = bytes;
  const body = answer.body!.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        controller.enqueue(chunk.subarray(0, left));
        left -= chunk.length;
        if (left <= 0) controller.error(new Error("cut"));
      },
    }),
  );
  return new Response(body, answer);
}

/** The answer with one byte changed. */
export function damaged(answer: Response): Response {
  let done = false;
  const body = answer.body!.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        const copy = chunk.slice();
        if (!done) copy[copy.length >> 1]! ^= 0xff;
        done = true;
        controller.enqueue(copy);
      },
    }),
  );
  return new Response(body, answer);
}
