/** Entry of the binary. Only what every command needs is imported here: `--version` takes 20 ms. */
import { version } from "./version.ts";

if (Deno.args[0] === "--version" || Deno.args[0] === "-V") {
  console.log(`flowgen ${version}`);
} else {
  const { main } = await import("./cli/main.ts");
  Deno.exit(await main(Deno.args));
}
