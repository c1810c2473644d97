import assert from "node:assert/strict";
import { settle, TestClock } from "../../../src/core/clock.ts";
import { contents, failure, failureText, LIMITS, withGit } from "./given.ts";
import { type Fault, PLAIN, serveGit } from "./http_server.ts";

const answer = (status: number, headers: Record<string, string> = {}): Fault => ({
  kind: "answer",
  response: () => new Response("no", { status, headers }),
});
const isFetch = (request: Request) => request.method === "POST";

Deno.test("credentials go out when asked for, and from then on at once", () =>
  withGit({ auth: { token: "s3cret" } }, async ({ repository, server, source, asked }) => {
    await repository.commit({ "a.yaml": "one" });
    const git = source({ credentials: () => Promise.resolve({ token: "s3cret" }) });
    const first = await git.read(null);
    assert.deepEqual(contents(first), { "a.yaml": "one" });
    const sent = server.seen.map(({ authorization }) => authorization !== null);
    assert.deepEqual(sent, [false, true, true, true]);
    assert.equal(server.seen[1]?.authorization, `Basic ${btoa("x-access-token:s3cret")}`);
    assert.deepEqual(asked(), ["discover 401", "discover 200", "refs 200", "fetch 200"]);
    await git.read(first!.version);
    assert.deepEqual(asked(), ["refs 200"]);
  }));

Deno.test("a user name, and a server that asks for a bearer token", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a.yaml": "one" });
    server.options.auth = { username: "ada", token: "s3cret" };
    const named = { credentials: () => Promise.resolve({ username: "ada", token: "s3cret" }) };
    assert.ok(await source(named).read(null));
    server.options.auth = { token: "s3cret", scheme: "bearer" };
    assert.ok(await source(named).read(null));
    assert.equal(server.seen.at(-1)?.authorization, "Bearer s3cret");
  }));

Deno.test("credentials that were renewed are read again, and wrong ones are told once", () =>
  withGit({ auth: { token: "first" } }, async ({ repository, server, source, asked }) => {
    await repository.commit({ "a.yaml": "one" });
    let token = "first";
    const git = source({ credentials: () => Promise.resolve({ token }) });
    const first = await git.read(null);
    server.options.auth = { token: "second" };
    asked();
    assert.deepEqual(await failureText(server, git.read(first!.version)), [
      "source.auth_failed",
      "Cannot read from http://host/flows.git: it refuses the credentials",
      "renew the token in the credentials file; it is read again each time",
    ]);
    assert.deepEqual(asked(), ["refs 401"]);
    token = "second";
    assert.equal(await git.read(first!.version), null);
    server.options.auth = { token: "third" };
    token = "third";
    asked();
    assert.equal(await git.read(first!.version), null);
    assert.deepEqual(asked(), ["refs 401", "refs 200"]);
  }));

Deno.test("credentials that are renewed during a read are read again", () =>
  withGit({ auth: { token: "new" } }, async ({ repository, source, asked }) => {
    await repository.commit({ "a.yaml": "one" });
    const tokens = ["old", "new"];
    const credentials = () => Promise.resolve({ token: tokens.shift() });
    assert.ok(await source({ credentials }).read(null));
    assert.deepEqual(asked(), [
      "discover 401",
      "discover 401",
      "discover 200",
      "refs 200",
      "fetch 200",
    ]);
  }));

Deno.test("a server that asks where no credentials are configured", () =>
  withGit({ auth: { token: "s3cret" } }, async ({ server, source }) => {
    assert.deepEqual(await failureText(server, source().read(null)), [
      "source.auth_failed",
      "Cannot read from http://host/flows.git: it asks for credentials",
      "set credentials_path; many hosts also ask when there is no such repository",
    ]);
  }));

Deno.test("a credentials file that cannot be read or used", () =>
  withGit({ auth: { token: "s3cret" } }, async ({ server, source }) => {
    const told = (credentials: () => Promise<unknown>) =>
      failureText(server, source({ credentials }).read(null));
    assert.deepEqual(await told(() => Deno.readTextFile("/no/such/file")), [
      "source.credentials_invalid",
      "Cannot read the Git credentials",
      "check the file that credentials_path names",
    ]);
    assert.deepEqual(await told(() => Promise.resolve({ password: "s3cret" })), [
      "source.credentials_invalid",
      "Cannot use the Git credentials: they have no token",
      'write {"token": "...", "username": "..."}; username is "x-access-token" when left out',
    ]);
  }));

Deno.test("redirects are followed, but credentials stay with the host they are for", () =>
  withGit({ auth: { token: "s3cret" } }, async ({ root, repository, server, source }) => {
    await repository.commit({ "a.yaml": "one" });
    const credentials = () => Promise.resolve({ token: "s3cret" });
    const other = serveGit(root);
    server.fault = (request) => {
      const { pathname, search } = new URL(request.url);
      return pathname.startsWith("/flows.git")
        ? answer(301, { location: `${other.url}${pathname}${search}` })
        : null;
    };
    const git = source({ credentials });
    const first = await git.read(null);
    assert.deepEqual(contents(first), { "a.yaml": "one" });
    assert.deepEqual(other.seen.map(({ authorization }) => authorization), [null, null, null]);
    assert.equal(await git.read(first!.version), null);

    other.options.auth = { token: "s3cret" };
    const { code, message, hint } = await failure(source({ credentials }).read(null));
    assert.equal(code, "source.auth_failed");
    assert.match(message, /where it leads to, asks for credentials$/);
    assert.equal(hint, `write ${other.url}/flows.git as the address if it may have them`);
    assert.ok(other.seen.every(({ authorization }) => authorization === null));

    server.fault = undefined;
    await other[Symbol.asyncDispose]();
    assert.equal((await failure(git.read(null))).code, "source.unavailable");
    assert.ok(await git.read(null), "it looks where it was told to look again");

    server.fault = (request) => {
      const { pathname, search } = new URL(request.url);
      return pathname.startsWith("/flows.git")
        ? null
        : answer(302, { location: `/flows.git${pathname.slice("/old.git".length)}${search}` });
    };
    const moved = source({ url: `${server.url}/old.git`, credentials });
    assert.deepEqual(contents(await moved.read(null)), { "a.yaml": "one" }, "the same host may");
  }));

Deno.test("a redirect in a circle, and one to somewhere else, end", () =>
  withGit({}, async ({ server, source }) => {
    server.fault = (request) => answer(302, { location: request.url });
    assert.deepEqual(await failureText(server, source().read(null)), [
      "source.not_supported",
      "Cannot read from http://host/flows.git: it answered 302",
      "write the address that it leads to, with https",
    ]);
    assert.equal(server.seen.length, 6);
    server.fault = () => answer(302, { location: "/login" });
    assert.equal((await failureText(server, source().read(null)))[0], "source.not_supported");
  }));

Deno.test("a repository that moves between two requests is found at the next read", () =>
  withGit({}, async ({ repository, server, source }) => {
    const commit = await repository.commit({ "a.yaml": "one" });
    const git = source();
    await git.read(null);
    server.fault = (request) => isFetch(request) ? answer(301, { location: "/other" }) : null;
    assert.deepEqual(await failureText(server, git.read(commit)), [
      "source.unavailable",
      "Cannot read from http://host/flows.git: it has moved",
    ]);
    server.fault = undefined;
    assert.equal(await git.read(commit), null);
  }));

Deno.test("a commit that goes away between two requests is looked for again at the next read", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a.yaml": "one" });
    const git = source();
    const gone = "0028ERR upload-pack: not our ref 1234567";
    let requests = 0;
    server.fault = () =>
      ++requests === 3 ? { kind: "answer", response: () => new Response(gone) } : null;
    assert.deepEqual(await failureText(server, git.read(null)), [
      "source.unavailable",
      "Cannot read from http://host/flows.git: it changed while it was read",
    ]);
    assert.ok(await git.read(null));
  }));

Deno.test("each answer that refuses has its own error", () =>
  withGit({}, async ({ server, source }) => {
    const told = async (status: number, headers?: Record<string, string>) => {
      server.fault = () => answer(status, headers);
      const { code, retryAfter, remedy } = await failure(source().read(null));
      return [code, remedy, retryAfter];
    };
    assert.deepEqual(await told(429, { "retry-after": "7" }), [
      "source.unavailable",
      "retry",
      7_000,
    ]);
    assert.deepEqual(await told(503), ["source.unavailable", "retry", undefined]);
    assert.deepEqual(await told(403), ["source.auth_failed", "config", undefined]);
    assert.deepEqual(await told(403, { "retry-after": "60" }), [
      "source.unavailable",
      "retry",
      60_000,
    ]);
    assert.deepEqual(await told(404), ["source.not_found", "config", undefined]);
    assert.deepEqual(await told(400), ["source.not_supported", "config", undefined]);
    server.fault = undefined;
    assert.deepEqual(
      await failureText(server, source({ url: `${server.url}/nothing.git` }).read(null)),
      [
        "source.not_found",
        "Cannot read from http://host/nothing.git: it answered 404",
        "check the address; private repositories also answer so when the token may not read them",
      ],
    );
  }));

Deno.test("what is no Git server", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a.yaml": "one" });
    server.fault = () => ({ kind: "answer", response: () => new Response("<html>") });
    assert.deepEqual(await failureText(server, source().read(null)), [
      "source.not_supported",
      "Cannot read from http://host/flows.git: it is no Git server",
      "check the address; a repository behind a plain file server needs git http-backend",
    ]);
  }));

Deno.test("a server that cannot be reached", () =>
  withGit({}, async ({ server, source }) => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const url = `http://127.0.0.1:${listener.addr.port}/flows.git`;
    listener.close();
    const { code, message, remedy } = await failure(source({ url }).read(null));
    assert.deepEqual([code, remedy], ["source.unavailable", "retry"]);
    assert.ok(message.startsWith(`Cannot read from ${url}: `));
    assert.match(message, /refused/i);
    assert.deepEqual(server.seen, []);
  }));

Deno.test("a connection that drops midway is told, whatever was under way, and the next read is whole", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({
      "a.bin": crypto.getRandomValues(new Uint8Array(60_000)),
      "b.bin": crypto.getRandomValues(new Uint8Array(60_000)),
    });
    const git = source();
    let requests = 0;
    for (const at of [1, 2, 3]) {
      for (const after of [0, 3, 40]) {
        requests = 0;
        server.fault = () => ++requests === at ? { kind: "drop", after } : null;
        const { code } = await failure(git.read(null));
        assert.equal(code, "source.unavailable", `request ${at}, ${after} bytes`);
      }
    }
    server.fault = (request) => isFetch(request) ? { kind: "drop", after: 100_000 } : null;
    assert.match(
      (await failureText(server, git.read(null))).join(),
      /^source.unavailable,Cannot read from http:\/\/host\/flows.git: error reading a body/,
    );
    server.fault = undefined;
    assert.equal((await git.read(null))?.files.get("a.bin")?.bytes().length, 60_000);
  }));

Deno.test("an answer that is cut off cleanly is no whole answer", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a.yaml": "one" });
    let missing = 0;
    let requests = 0;
    server.fault = () => ({
      kind: "change",
      change: (body) => body.subarray(0, body.length - (++requests === 3 ? missing : 0)),
    });
    await source().read(null);
    const whole = server.seen.at(-1)!.bytes;
    for (missing = 1; missing < whole; missing += 7) {
      requests = 0;
      const { code } = await failure(source().read(null));
      assert.equal(code, "source.unavailable", `${missing} of ${whole} bytes missing`);
    }
  }));

Deno.test("a pack that was changed on its way is never delivered", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a.yaml": "one", "b/c.yaml": "two" });
    const good = contents(await source().read(null));
    const { bytes } = server.seen.at(-1)!;
    const codes = new Set<string>();
    for (let at = 0; at < bytes; at += 3) {
      server.fault = (request) =>
        isFetch(request)
          ? {
            kind: "change",
            change: (body) => body.length === bytes ? body.with(at, body[at]! ^ 0x40) : body,
          }
          : null;
      try {
        // What lies beside the pack may change without harm.
        assert.deepEqual(contents(await source().read(null)), good);
      } catch (cause) {
        codes.add((await failure(Promise.reject(cause))).code);
      }
    }
    assert.deepEqual([...codes].sort(), ["source.corrupt", "source.unavailable"]);
  }));

Deno.test("a server that falls silent is given up after half a minute", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a.yaml": "one" });
    const clock = new TestClock();
    server.fault = (request) => isFetch(request) ? { kind: "stall", after: 10 } : null;
    let over = false;
    const told = failureText(server, source({ clock }).read(null)).finally(() => over = true);
    while (!server.seen.some(({ body }) => body.includes("ls-refs"))) await settle();
    while (!over) await clock.advance(10_000);
    assert.deepEqual(await told, [
      "source.unavailable",
      "Cannot read from http://host/flows.git: it was silent for 30s",
    ]);
    assert.equal(clock.pending, 0);
  }));

Deno.test("a read can be stopped", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a.yaml": "one" });
    const stop = new AbortController();
    server.fault = (request) => {
      if (!isFetch(request)) return null;
      stop.abort(new Error("enough"));
      return { kind: "stall", after: 0 };
    };
    await assert.rejects(source().read(null, stop.signal), { message: "enough" });
    await assert.rejects(source().read(null, stop.signal), { message: "enough" });
  }));

Deno.test("files that are too large, too many or too much together are refused by name", () =>
  withGit({}, async ({ repository, server, source }) => {
    await repository.commit({ "a/large.bin": "x".repeat(2_000), "b.yaml": "one", "c.yaml": "two" });
    const told = (limits: Partial<typeof LIMITS>, path?: string) =>
      failureText(server, source({ limits: { ...LIMITS, ...limits }, path }).read(null));
    assert.deepEqual(await told({ maxFileSize: 1_999 }), [
      "source.too_large",
      "Cannot read the commit: the file a/large.bin has 2000 bytes, allowed are 1999",
      "make it smaller, or raise max_file_size",
    ]);
    assert.deepEqual(await told({ maxTotalSize: 2_005 }), [
      "source.too_large",
      "Cannot read the commit: its files together are too large, allowed are 2005",
      "make it smaller, or raise max_total_size",
    ]);
    assert.deepEqual(await told({ maxFiles: 2 }), [
      "source.too_large",
      "Cannot read the commit: it has more than 2 files",
      "raise max_files, or set path to the folder that is needed",
    ]);
    const one = { ...LIMITS, maxFileSize: 10, maxFiles: 1, maxTotalSize: 10 };
    assert.ok(await source({ limits: one, path: "b.yaml" }).read(null), "others do not count");
    assert.ok(
      await source({ limits: { maxFileSize: 2_000, maxFiles: 3, maxTotalSize: 2_006 } }).read(null),
    );
  }));

Deno.test("a bomb is refused before it is unpacked", () =>
  withGit({}, async ({ repository, server, source }) => {
    // 200 MB of zeros in a pack of 200 KB.
    await repository.commit({ "a.bin": new Uint8Array(200_000_000) });
    const before = Deno.memoryUsage().rss;
    assert.deepEqual(await failureText(server, source().read(null)), [
      "source.too_large",
      "Cannot read the commit: it has more than 77108864 bytes",
      "raise max_total_size, or keep large files in another repository",
    ]);
    assert.ok(server.seen.at(-1)!.bytes < 1_000_000);
    assert.ok(Deno.memoryUsage().rss - before < 80_000_000);
  }));

Deno.test("folders that repeat each other endlessly are refused", () =>
  withGit({}, async ({ repository, server, source }) => {
    // Ten levels of ten folders each, all the same: 10^10 files in a dozen objects.
    const blob = await hashObject(repository.folder, "blob", "boom");
    let tree = await makeTree(repository.folder, lines("100644 blob", blob));
    for (let level = 0; level < 10; level++) {
      tree = await makeTree(repository.folder, lines("040000 tree", tree));
    }
    const commit = await repository.git("commit-tree", tree, "-m", "bomb");
    await repository.git("update-ref", "refs/heads/main", commit);
    assert.deepEqual(await failureText(server, source().read(null)), [
      "source.too_large",
      "Cannot read the commit: it has more than 20000 files",
      "raise max_files, or set path to the folder that is needed",
    ]);
  }));

Deno.test("names that lead out of a folder are refused", () =>
  withGit({}, async ({ repository, server, source }) => {
    const blob = await hashObject(repository.folder, "blob", "evil");
    const folder = await hashObject(repository.folder, "tree", [`100644 a.yaml\0`, blob]);
    const told = async (mode: string, name: string | Uint8Array, id: string) => {
      const bytes = typeof name === "string" ? new TextEncoder().encode(name) : name;
      const tree = await hashObject(repository.folder, "tree", [`${mode} `, bytes, "\0", id]);
      const commit = await repository.git("commit-tree", tree, "-m", "evil");
      await repository.git("update-ref", "refs/heads/main", commit);
      return await failureText(server, source().read(null));
    };
    const hint = "rename it in the repository";
    const unsafe = (text: string) => ["source.path_unsafe", `Cannot accept the path ${text}`, hint];
    assert.deepEqual(await told("40000", "..", folder), unsafe('"..": it has the part ".."'));
    assert.deepEqual(await told("40000", ".GIT", folder), unsafe('".GIT": it has the part ".GIT"'));
    // What some file systems take for .git.
    for (const name of ["git~1", "GIT~1", ".g\u200cit"]) {
      assert.deepEqual(
        await told("40000", name, folder),
        unsafe(`"${name}": it has the part "${name}"`),
      );
    }
    assert.deepEqual(
      await told("100644", "/etc/x", blob),
      unsafe('"/etc/x": a name in it holds a slash'),
    );
    assert.deepEqual(await told("100644", "a\\b", blob), unsafe('"a\\b": it holds a backslash'));
    assert.deepEqual(
      await told("100644", "a\nb", blob),
      unsafe('"a\\nb": it holds a control character'),
    );
    assert.deepEqual(
      await told("100644", new Uint8Array([0x61, 0xff]), blob),
      unsafe('"a\ufffd": it is not UTF-8'),
    );
  }));

Deno.test("names that differ in case only are told, and delivered", () =>
  withGit({}, async ({ repository, source }) => {
    await repository.commit({ "flows/Reader.yaml": "one", "flows/reader.yaml": "two" });
    const snapshot = await source({ path: "flows" }).read(null);
    assert.equal(snapshot?.files.size, 2);
    assert.deepEqual(
      snapshot?.problems.map(({ error }) => [error.code, error.message, error.hint]),
      [[
        "source.path_collision",
        'The paths "flows/Reader.yaml", "flows/reader.yaml" are one and the same on some systems',
        "rename all but one of them",
      ]],
    );
  }));

Deno.test("nothing that is said or logged holds the token", () =>
  withGit({ auth: { token: "other" } }, async ({ server, source }) => {
    const texts: string[] = [];
    const log = new Proxy({}, {
      get: () => (...args: unknown[]) => void texts.push(JSON.stringify(args)),
      // deno-lint-ignore no-explicit-any
    }) as any;
    const credentials = () => Promise.resolve({ token: "s3cret" });
    const error = await failure(source({ credentials, log }).read(null));
    assert.match(error.message, /it refuses the credentials$/);
    const all = [Deno.inspect(error), ...texts].join("\n");
    assert.ok(!all.includes("s3cret") && !all.includes(btoa("x-access-token:s3cret")));
    assert.equal(server.seen.length, 2);
  }));

const lines = (entry: string, id: string) =>
  Array.from({ length: 10 }, (_, i) => `${entry} ${id}\tf${i}`).join("\n") + "\n";

async function makeTree(cwd: string, input: string): Promise<string> {
  return await pipe(cwd, ["mktree"], new TextEncoder().encode(input));
}

/** Ids in `content` become bytes. */
async function hashObject(
  cwd: string,
  type: string,
  content: string | readonly (string | Uint8Array)[],
): Promise<string> {
  const parts = [content].flat().map((part) =>
    typeof part !== "string"
      ? part
      : /^[0-9a-f]{40}$/.test(part)
      ? Uint8Array.fromHex(part)
      : new TextEncoder().encode(part)
  );
  const bytes = new Uint8Array(parts.flatMap((part) => [...part]));
  return await pipe(cwd, ["hash-object", "-w", "--literally", "-t", type, "--stdin"], bytes);
}

async function pipe(cwd: string, args: string[], input: Uint8Array): Promise<string> {
  const child = new Deno.Command("git", {
    args,
    cwd,
    clearEnv: true,
    env: PLAIN,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(input);
  await writer.close();
  const { success, stdout } = await child.output();
  if (!success) throw new Error(`git ${args[0]} failed`);
  return new TextDecoder().decode(stdout).trim();
}
