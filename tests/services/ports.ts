/** Ports for servers that cannot be told to take any. */

/**
 * Below those that systems hand out by themselves (from 32768 on with Linux, from 49152 elsewhere):
 * nobody is given one of these between the choice and its use, nor while its server is down.
 */
const FIRST = 10_000;
const LAST = 32_000;

/** Ports of loopback that nobody uses; each is another one. */
export function freePorts(count: number): number[] {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch (cause) {
    if (cause instanceof Deno.errors.AddrInUse) return false;
    throw cause;
  }
}
