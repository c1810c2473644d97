/** Keys of the real `ssh-keygen`, for signatures of the real `git`. */
import type { Repository } from "./http_server.ts";

export const ED25519 = ["-t", "ed25519"];

/** @returns the public key's line; from then on `git commit -S` and `git tag -s` use it. */
export async function useKey(
  repository: Repository,
  name: string,
  ...args: string[]
): Promise<string> {
  const file = await makeKey(repository, name, ...args);
  await repository.git("config", "gpg.format", "ssh");
  await repository.git("config", "user.signingkey", file);
  return (await Deno.readTextFile(`${file}.pub`)).trim();
}

/** @returns the private key's file; the public one is beside it. */
export async function makeKey(
  { folder }: Repository,
  name: string,
  ...args: string[]
): Promise<string> {
  const file = `${folder}/.git/${name}`;
  const command = new Deno.Command("ssh-keygen", {
    args: ["-q", "-N", "", "-C", name, "-f", file, ...args],
  });
  const { success } = await command.output();
  if (!success) throw new Error(`Cannot make a key with ${args.join(" ")}`);
  return file;
}
