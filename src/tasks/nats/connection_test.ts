import assert from "node:assert/strict";
import { optionsOf } from "./connection.ts";

const own = { url: "own:4222", credentials_path: "/op/own.json", tls: { ca_path: "/op/ca.pem" } };
const checked = (path: string) => `checked ${path}`;

Deno.test("a task without a url uses the runtime's server, with what the operator gave for it", () => {
  assert.deepEqual(optionsOf({}, own, checked), own);
  assert.deepEqual(optionsOf({ credentials_path: "x" }, own, checked), {
    ...own,
    credentials_path: "checked x",
  });
});

Deno.test("the operator's credentials go to no other server", () => {
  assert.deepEqual(optionsOf({ url: "other:4222" }, own, checked), {
    url: "other:4222",
    credentials_path: undefined,
    tls: undefined,
  });
  assert.deepEqual(
    optionsOf({ url: "other:4222", credentials_path: "x", tls: { ca_path: "y" } }, own, checked),
    {
      url: "other:4222",
      credentials_path: "checked x",
      tls: { ca_path: "checked y", cert_path: undefined, key_path: undefined },
    },
  );
});
