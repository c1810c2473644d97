import assert from "node:assert/strict";
import { join } from "node:path";
import { nkeys } from "@nats-io/nats-core";
import { settle } from "../../../src/core/clock.ts";
import { FlowError, formatError } from "../../../src/core/errors.ts";
import { acquireNats } from "../../../src/nats/connect.ts";
import { natsError } from "../../../src/nats/errors.ts";
import type { NatsOptions } from "../../../src/nats/options.ts";
import { checkJetStream } from "../../../src/nats/jetstream.ts";
import { freePorts } from "../ports.ts";
import { logged } from "./logged.ts";
import { startProxy } from "./proxy.ts";
import { startNats, until } from "./server.ts";
import { steadily } from "./steadily.ts";

/** Far more than anything takes here; past it something hangs. */
const LIMIT = 60_000;

const folder = await Deno.makeTempDir({ prefix: "flowgen-nats-test-" });
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

let files = 0;
function file(content: unknown): string {
  const path = join(folder, `file${++files}`);
  Deno.writeTextFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

/** Logs in, and sees that the server answers. */
async function works(options: NatsOptions): Promise<void> {
  await using lease = await acquireNats(options);
  await lease.connection.flush();
}

/** What a person is told, with ports and the folder taken out. */
async function refusal(options: NatsOptions): Promise<string> {
  const cause = await works(options).then(() => null, (cause) => cause);
  assert.ok(cause instanceof FlowError, `it was not refused: ${cause}`);
  return formatError(cause).replaceAll(folder, "").replaceAll(/:\d{4,5}\b/g, ":PORT");
}

Deno.test("nats: user and password come from the file or stand in the address", async () => {
  await using server = await startNats({ config: 'authorization { user: ann, password: "p@ss" }' });
  const { url } = server;
  await works({ url, credentials_path: file({ user: "ann", password: "p@ss" }) });
  await works({ url: `nats://ann:p%40ss@${url}` });
  const wrong = file({ user: "ann", password: "other secret" });
  assert.equal(
    await refusal({ url, credentials_path: wrong }),
    "nats.auth_failed\nCannot log in to NATS at 127.0.0.1:PORT: the server refuses user and " +
      `password in ${wrong.replace(folder, "")}`,
  );
  assert.equal(
    await refusal({ url: `ann:other@${url}` }),
    "nats.auth_failed\nCannot log in to NATS at 127.0.0.1:PORT: the server refuses user and " +
      "password in the address",
  );
  assert.equal(
    await refusal({ url }),
    "nats.auth_failed\nCannot log in to NATS at 127.0.0.1:PORT: the server asks for credentials\n" +
      "hint: name a file that has them in credentials_path",
  );
});

Deno.test("nats: a token comes from the file or stands in the address", async () => {
  await using server = await startNats({ config: "authorization { token: t0p }" });
  const { url } = server;
  await works({ url, credentials_path: file({ token: "t0p" }) });
  await works({ url: `nats://t0p@${url}` });
  assert.match(
    await refusal({ url: `other@${url}` }),
    /^nats.auth_failed\n.*the token in the address/,
  );
});

Deno.test("nats: an nkey signs what the server asks", async () => {
  const user = nkeys.createUser();
  const seed = new TextDecoder().decode(user.getSeed());
  const config = `authorization { users: [{ nkey: ${user.getPublicKey()} }] }`;
  await using server = await startNats({ config });
  const { url } = server;
  await works({ url, credentials_path: file({ nkey: { seed } }) });
  const other = new TextDecoder().decode(nkeys.createUser().getSeed());
  assert.match(
    await refusal({ url, credentials_path: file({ nkey: { seed: other } }) }),
    /^nats.auth_failed\n.*the nkey in/,
  );
});

Deno.test("nats: a .creds file has a JWT and a seed", async () => {
  const operator = nkeys.createOperator();
  const account = nkeys.createAccount();
  const user = nkeys.createUser();
  const jwt = (claims: object, issuer: typeof operator) => {
    const encode = (part: object) => {
      return new TextEncoder().encode(JSON.stringify(part))
        .toBase64({ alphabet: "base64url", omitPadding: true });
    };
    const text = `${encode({ typ: "JWT", alg: "ed25519-nkey" })}.${
      encode({ iat: 1, jti: "x", iss: issuer.getPublicKey(), ...claims })
    }`;
    const signature = issuer.sign(new TextEncoder().encode(text));
    return `${text}.${signature.toBase64({ alphabet: "base64url", omitPadding: true })}`;
  };
  const unlimited = { subs: -1, data: -1, payload: -1 };
  const operatorJwt = jwt(
    { sub: operator.getPublicKey(), name: "O", nats: { type: "operator", version: 2 } },
    operator,
  );
  const accountJwt = jwt({
    sub: account.getPublicKey(),
    name: "A",
    nats: {
      type: "account",
      version: 2,
      limits: { ...unlimited, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 },
    },
  }, operator);
  const userJwt = jwt({
    sub: user.getPublicKey(),
    name: "U",
    nats: { type: "user", version: 2, ...unlimited, pub: {}, sub: {} },
  }, account);
  const config = `operator: ${operatorJwt}\nresolver: MEMORY\n` +
    `resolver_preload { ${account.getPublicKey()}: ${accountJwt} }`;
  await using server = await startNats({ config, jetstream: false });
  const creds = (seed: Uint8Array) =>
    file(
      `-----BEGIN NATS USER JWT-----\n${userJwt}\n------END NATS USER JWT------\n\n` +
        "************************* IMPORTANT *************************\n\n" +
        `-----BEGIN USER NKEY SEED-----\n${new TextDecoder().decode(seed)}\n` +
        "------END USER NKEY SEED------\n",
    );
  const { url } = server;
  await works({ url, credentials_path: creds(user.getSeed()) });
  assert.match(
    await refusal({ url, credentials_path: creds(nkeys.createUser().getSeed()) }),
    /^nats.auth_failed\n.*the JWT in/,
  );
});

Deno.test("nats: a rotated credentials file is used at the next connection", async () => {
  const path = file({ user: "ann", password: "old" });
  await using server = await startNats({ config: "authorization { user: ann, password: old }" });
  await using lease = await acquireNats({ url: server.url, credentials_path: path });
  await server.stop();
  Deno.writeTextFileSync(path, JSON.stringify({ user: "ann", password: "new" }));
  await server.start("authorization { user: ann, password: new }");
  await lease.ready(LIMIT);
  await lease.connection.flush();
});

Deno.test("nats: a client that was connected outlives a server that refuses it for a while", async () => {
  const config = "authorization { user: ann, password: right }";
  await using server = await startNats({ config });
  const path = file({ user: "ann", password: "right" });
  const refused = `the server refuses user and password in ${path}`;
  const records = await logged(async () => {
    await using lease = await acquireNats({ url: server.url, credentials_path: path });
    await server.restart("authorization { user: ann, password: another }");
    await until(() => lease.trouble === refused, LIMIT, "it is not refused");
    await assert.rejects(lease.ready(1), {
      code: "nats.unavailable",
      message: `Cannot reach NATS at ${server.url}: ${refused}`,
    });
    // More refusals than nats-core puts up with by default.
    const refusals = async () => (await server.log()).split("authentication error").length;
    await until(async () => await refusals() > 4, LIMIT, "it gives up");
    await server.restart(config);
    await lease.ready(LIMIT);
    await lease.connection.flush();
  }, "info");
  // Each attempt was refused; what happened is told once all the same.
  assert.deepEqual(records.map(({ level, message }) => `${level}: ${message}`), [
    "warning: Lost the connection to NATS; connecting again",
    "error: NATS refuses the credentials; trying again",
    "info: Connected to NATS again",
  ]);
});

Deno.test("nats: encryption trusts the given certificate authority and no other", async () => {
  await openssl(
    "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
  );
  await Deno.writeTextFile(join(folder, "ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost");
  for (const name of ["server", "client"]) {
    await openssl(
      `req -newkey rsa:2048 -nodes -subj /CN=${name} -keyout ${name}.key -out ${name}.csr`,
    );
    await openssl(
      `x509 -req -in ${name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext ` +
        `-out ${name}.pem`,
    );
  }
  const path = (name: string) => join(folder, name);
  const files = `cert_file: "${path("server.pem")}", key_file: "${path("server.key")}"`;
  await using server = await startNats({ config: `tls { ${files} }` });
  const tls = { ca_path: path("ca.pem") };
  await works({ url: `localhost:${server.port}`, tls });
  await works({ url: `tls://${server.url}`, tls });
  // Its own authorities are the machine's.
  assert.match(
    await refusal({ url: `tls://${server.url}` }),
    /^nats.tls_failed\nCannot encrypt the connection to NATS at 127.0.0.1:PORT: .*hint: .*tls.ca_path/s,
  );
  assert.equal(
    await refusal({ url: server.url, tls: { ca_path: path("missing.pem") } }),
    "nats.tls_failed\nCannot use the TLS file /missing.pem: there is no such file",
  );
  await using plain = await startNats();
  assert.match(
    await refusal({ url: plain.url, tls }),
    /^nats.tls_failed\n.*does not support 'tls'/,
  );

  await using strict = await startNats({
    config: `tls { ${files}, ca_file: "${path("ca.pem")}", verify: true }`,
  });
  await works({
    url: strict.url,
    tls: { ...tls, cert_path: path("client.pem"), key_path: path("client.key") },
  });
  assert.equal(
    await refusal({ url: strict.url, tls }),
    "nats.tls_failed\nCannot encrypt the connection to NATS at 127.0.0.1:PORT: the server asks for a " +
      "certificate\nhint: name one, and its key, in tls.cert_path and tls.key_path",
  );
});

async function openssl(args: string): Promise<void> {
  const command = new Deno.Command("openssl", { args: args.split(" "), cwd: folder });
  const { success, stderr } = await command.output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

Deno.test("nats: a server that is not there is told at once, and can be tried again", async () => {
  const [port] = freePorts(1);
  assert.equal(
    await refusal({ url: `127.0.0.1:${port}` }),
    "nats.unavailable\nCannot reach NATS at 127.0.0.1:PORT: connection refused",
  );
  const cause = await works({ url: `127.0.0.1:${port}` }).catch((cause) => cause);
  assert.equal(cause.remedy, "retry");
  assert.match(
    await refusal({ url: "no-such-host.invalid" }),
    /^nats.unavailable\nCannot reach NATS at no-such-host.invalid:PORT: /,
  );
});

Deno.test("nats: what is no NATS server is told as such, and leaves nothing open", async () => {
  for (const answer of ["HTTP/1.1 400 Bad Request\r\n\r\n", ""]) {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const served = (async () => {
      for await (const connection of listener) {
        await connection.write(new TextEncoder().encode(answer)).catch(() => {});
        connection.close();
      }
    })();
    const url = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
    assert.equal(
      await refusal({ url }),
      "nats.unavailable\nCannot reach NATS at 127.0.0.1:PORT: " +
        (answer ? "unexpected response from server" : "it closed the connection"),
    );
    listener.close();
    await served;
  }
});

Deno.test("nats: a server that says nothing is given up, and the connection closed", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const gone = listener.accept().then(async (connection) => {
    await connection.read(new Uint8Array(1));
    connection.close();
  });
  const url = `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
  assert.equal(
    await refusal({ url }),
    "nats.unavailable\nCannot reach NATS at 127.0.0.1:PORT: it does not answer",
  );
  await gone;
  listener.close();
});

Deno.test("nats: a server that refuses and hangs up does not end the process", async () => {
  await using server = await startNats({ config: "authorization { token: right }" });
  // Now and then the reset comes between two steps of the client.
  for (let i = 0; i < 300; i++) {
    await assert.rejects(works({ url: `wrong@${server.url}` }), { code: "nats.auth_failed" });
  }
});

Deno.test("nats: the loss and the return of a connection are logged once", async () => {
  await using server = await startNats();
  const records = await logged(async () => {
    await using lease = await acquireNats({ url: `secret@${server.url}` });
    await server.stop();
    await until(() => lease.trouble !== null, LIMIT, "the loss goes unnoticed");
    await server.start();
    await lease.ready(LIMIT);
    await lease.connection.flush();
  }, "info");
  assert.deepEqual(records, [
    {
      level: "warning",
      message: "Lost the connection to NATS; connecting again",
      fields: { server: server.url },
    },
    {
      level: "info",
      message: "Connected to NATS again",
      fields: { server: server.url, now: server.url },
    },
  ]);
});

Deno.test("nats: what is forbidden is logged once, and does not break the connection", async () => {
  const permissions = 'permissions: { publish: { deny: ["x", "y"] } }';
  const config = `authorization { users: [{ user: a, password: a, ${permissions} }] }`;
  await using server = await startNats({ config });
  const records = await logged(async () => {
    await using lease = await acquireNats({ url: `a:a@${server.url}` });
    for (const subject of ["x", "y", "x", "y"]) lease.connection.publish(subject);
    // The server's errors come before its answer; they are looked at a moment later.
    await lease.connection.flush();
    await settle();
    const asked = await lease.connection.request("x").catch((cause) => natsError(cause, "ask x"));
    assert.equal((asked as FlowError).code, "nats.permission_denied");
    assert.equal(lease.trouble, null);
  });
  const record = (subject: string) => ({
    level: "warning",
    message: "NATS reports an error",
    fields: { server: server.url, error: `Permissions Violation for Publish to "${subject}"` },
  });
  assert.deepEqual(records, [record("x"), record("y")]);
});

Deno.test("nats: of several servers one that is there is enough", async () => {
  await using server = await startNats();
  const [port] = freePorts(1);
  await works({ url: `nats://127.0.0.1:${port}, nats://${server.url}` });
});

Deno.test("nats: all who ask share one connection, which ends with the last", async () => {
  await using server = await startNats();
  const { url } = server;
  const first = await acquireNats({ url });
  const second = await acquireNats({ url: `nats://${url}` });
  assert.equal(first.connection, second.connection);
  assert.equal(await connections(server.monitorUrl), 1);
  await first[Symbol.asyncDispose]();
  await first[Symbol.asyncDispose]();
  await second.connection.flush();
  await second[Symbol.asyncDispose]();
  assert.equal(second.connection.isClosed(), true);
  await using third = await acquireNats({ url });
  assert.notEqual(third.connection, first.connection);
  await third.connection.flush();
});

Deno.test("nats: who gives up leaves the connection to others, and none when there are none", async () => {
  await using server = await startNats();
  const { url } = server;
  await assert.rejects(acquireNats({ url }, { signal: AbortSignal.abort() }), {
    code: "nats.unavailable",
    message: `Cannot reach NATS at ${url}: the attempt was stopped`,
  });
  await until(async () => await connectionsEver(server.monitorUrl) === 1, LIMIT, "not made");
  await until(async () => await connections(server.monitorUrl) === 0, LIMIT, "it stays open");
  const giveUp = new AbortController();
  const [one, other] = [acquireNats({ url }, { signal: giveUp.signal }), acquireNats({ url })];
  giveUp.abort();
  await assert.rejects(one, { code: "nats.unavailable" });
  await using lease = await other;
  await lease.connection.flush();
});

Deno.test("nats: what was published has left when the connection closes", async () => {
  // It closes after two seconds, whatever is left.
  await steadily(500, async (watch) => {
    await using server = await startNats();
    await watch(server.url);
    await using reader = await acquireNats({ url: `localhost:${server.port}` });
    const heard = reader.connection.subscribe("a", { max: 30 });
    await reader.connection.flush();
    const writer = await acquireNats({ url: server.url });
    // More than a socket takes at once.
    for (let i = 0; i < 30; i++) writer.connection.publish("a", new Uint8Array(1_000_000));
    await writer[Symbol.asyncDispose]();
    await until(() => heard.getReceived() === 30, 20_000, "it was lost");
  });
});

Deno.test("nats: requests under way fail when the connection breaks, and later ones work", async () => {
  await using server = await startNats();
  await using lease = await acquireNats({ url: server.url });
  const { connection } = lease;
  const nobody = connection.subscribe("slow");
  const troubles: (string | null)[] = [];
  lease.onChange((trouble) => troubles.push(trouble));
  // Longer than the test may take: only the broken connection can end it.
  const asked = connection.request("slow", "", { timeout: 600_000 });
  await connection.flush();
  await server.kill();
  await assert.rejects(asked, { name: "RequestError" });
  assert.equal(lease.trouble, "the connection was lost");
  await server.start();
  await lease.ready(LIMIT);
  assert.deepEqual(troubles, ["the connection was lost", null]);
  nobody.unsubscribe();
  connection.subscribe("echo", { callback: (_, message) => void message.respond(message.data) });
  assert.equal((await connection.request("echo", "hi")).string(), "hi");
});

Deno.test("nats: a server that went away does not keep the connection from closing", async () => {
  await using server = await startNats();
  const lease = await acquireNats({ url: server.url });
  await server.kill();
  await until(() => lease.trouble !== null, LIMIT, "the loss goes unnoticed");
  await lease[Symbol.asyncDispose]();
  assert.equal(lease.connection.isClosed(), true);
  // Nor does one that is there and silent.
  await server.start();
  await using proxy = startProxy(server.port);
  const silent = await acquireNats({ url: proxy.url });
  proxy.hold("to_client");
  // Promised within two seconds; unanswered pings would end it after more than ten.
  let closed = false;
  silent[Symbol.asyncDispose]().then(() => closed = true);
  await until(() => closed, 10_000, "it does not close");
  assert.equal(silent.connection.isClosed(), true);
});

Deno.test("nats: a server without JetStream is told as such", async () => {
  await using without = await startNats({ jetstream: false });
  await using lease = await acquireNats({ url: without.url });
  await assert.rejects(checkJetStream(lease), {
    code: "nats.no_jetstream",
    message: "Cannot use JetStream: the server runs without it",
  });
  const config = "accounts { A: { users: [{ user: a, password: a }] } }";
  await using server = await startNats({ config });
  await using other = await acquireNats({ url: `a:a@${server.url}` });
  await assert.rejects(checkJetStream(other), {
    code: "nats.no_jetstream",
    hint: "enable JetStream for the account of this user",
  });
});

async function connectionsEver(monitor: string): Promise<number> {
  return (await (await fetch(`${monitor}/varz`)).json()).total_connections;
}

async function connections(monitor: string): Promise<number> {
  return (await (await fetch(`${monitor}/connz`)).json()).num_connections;
}
