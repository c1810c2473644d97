import type { Authenticator } from "@nats-io/nats-core";
import * as v from "valibot";
import { FlowError } from "../core/errors.ts";
import type { Login } from "./address.ts";

type Client = typeof import("@nats-io/nats-core");

const Text = v.pipe(v.string(), v.nonEmpty());

const CredentialsFile = v.union([
  v.object({ nkey: v.object({ seed: Text }) }),
  v.object({ user: Text, password: v.string() }),
  v.object({ token: Text }),
]);

/** Ready to answer a server, and what people are told about it. */
export interface Credentials {
  readonly authenticator: Authenticator;
  /** `the token in the address`, `the nkey in /etc/nats.json`. */
  readonly shown: string;
}

/** @throws never, unlike a file */
export function loginCredentials(login: Login, client: Client): Credentials {
  return "token" in login
    ? {
      authenticator: client.tokenAuthenticator(login.token),
      shown: "the token in the address",
    }
    : {
      authenticator: client.usernamePasswordAuthenticator(login.user, login.password),
      shown: "user and password in the address",
    };
}

/**
 * Reads one of
 *
 * - `{"nkey": {"seed": "SU…"}}`
 * - `{"user": "…", "password": "…"}`
 * - `{"token": "…"}`
 * - a `.creds` file, which has a JWT and a seed
 *
 * The file is read again at every reconnection, so that a rotated one is used; while it cannot be
 * read, what it held last is used.
 *
 * @throws {FlowError} `nats.credentials_invalid`
 */
export function readCredentials(path: string, client: Client): Credentials {
  let last = parse(path, client);
  let first = true;
  return {
    shown: `${last.shown} in ${path}`,
    authenticator(nonce) {
      // An authenticator that throws would end the connection for good.
      if (!first) last = tryParse(path, client) ?? last;
      first = false;
      return last.authenticator(nonce);
    },
  };
}

function tryParse(path: string, client: Client): Credentials | null {
  try {
    return parse(path, client);
  } catch {
    return null;
  }
}

function parse(path: string, client: Client): Credentials {
  const text = read(path);
  if (/^\s*-----BEGIN /.test(text)) return credsFile(path, text, client);
  const content = parseJson(path, text);
  const parsed = v.safeParse(CredentialsFile, content);
  if (!parsed.success) throw invalid(path, "its fields are not as expected");
  const file = parsed.output;
  if ("nkey" in file) {
    const seed = checkSeed(path, file.nkey.seed.trim(), client);
    return { authenticator: client.nkeyAuthenticator(seed), shown: "the nkey" };
  }
  if ("token" in file) {
    return { authenticator: client.tokenAuthenticator(file.token), shown: "the token" };
  }
  return {
    authenticator: client.usernamePasswordAuthenticator(file.user, file.password),
    shown: "user and password",
  };
}

function credsFile(path: string, text: string, client: Client): Credentials {
  const blocks = [...text.matchAll(/-----BEGIN [^\n]*-----\s+(\S+)\s+-{3,}END /g)];
  const [jwt, seed] = blocks.map((block) => block[1]!);
  if (!jwt || jwt.split(".").length !== 3) throw invalid(path, "it has no JWT of a user");
  if (!seed) throw invalid(path, "it has no seed");
  const bytes = checkSeed(path, seed, client);
  return { authenticator: client.jwtAuthenticator(jwt, bytes), shown: "the JWT" };
}

function checkSeed(path: string, seed: string, { nkeys }: Client): Uint8Array {
  const bytes = new TextEncoder().encode(seed);
  try {
    nkeys.fromSeed(bytes).getPublicKey();
  } catch {
    throw invalid(path, "its seed is not the seed of an nkey");
  }
  return bytes;
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (cause) {
    const missing = cause instanceof Deno.errors.NotFound;
    throw invalid(path, missing ? "there is no such file" : "cannot read it");
  }
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A parser's message may quote the file, so only the kind of trouble is told.
    throw invalid(path, "it is neither JSON nor a .creds file");
  }
}

function invalid(path: string, problem: string): FlowError {
  return new FlowError(
    "nats.credentials_invalid",
    `Cannot use the credentials file ${path}: ${problem}`,
    {
      hint: 'write {"user": "…", "password": "…"}, {"token": "…"} or {"nkey": {"seed": "S…"}}, ' +
        "or name a .creds file",
    },
  );
}
