import { SafeTransport } from "./tcp.ts";

/** More than the kernel takes for a connection that nobody reads from. */
const TOO_MUCH = new Uint8Array(32 * 1024 * 1024);

const INFO = `INFO ${
  JSON.stringify({ server_id: "S", version: "2.11.0", max_payload: 1_048_576 })
}\r\n`;

Deno.test("a server that does not answer is let go of, also while there is much left to send", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const accepted = listener.accept();
  const transport = new SafeTransport();
  const connected = transport.connect(
    { hostname: "127.0.0.1", port, tlsName: "" },
    { tls: null },
  );
  using server = await accepted;
  await server.write(new TextEncoder().encode(INFO));
  await connected;
  transport.send(TOO_MUCH);
  transport.disconnect();
  await transport.closed();
});
