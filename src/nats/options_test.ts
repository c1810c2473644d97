import assert from "node:assert/strict";
import { withoutLogin } from "./options.ts";

Deno.test("a server without its login keeps addresses and authorities, and nothing that proves who we are", () => {
  const options = {
    url: "nats://user:p@ss@a:4222, token@b:4222,c",
    credentials_path: "/run/secrets/nats.creds",
    tls: { ca_path: "ca.pem", cert_path: "cert.pem", key_path: "key.pem" },
  };
  assert.deepEqual(withoutLogin(options), {
    url: "nats://a:4222,b:4222,c",
    tls: { ca_path: "ca.pem" },
  });
});
