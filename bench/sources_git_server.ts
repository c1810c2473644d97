/** The Git server of the tests in a process of its own, so that nobody who reads shares a thread with it. */
import { serveGit } from "../tests/services/git/http_server.ts";

/** Serves the repositories below `root` until `use` is done. */
export async function withGitServer<T>(
  root: string,
  use: (url: string) => Promise<T>,
): Promise<T> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.filename!, root],
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    const { value } = await lines.read();
    if (!value) throw new Error("The Git server did not start");
    return await use(value.trim());
  } finally {
    child.kill();
    await lines.cancel();
    await child.status;
  }
}

if (import.meta.main) {
  const server = serveGit(Deno.args[0]!);
  console.log(server.url);
}
