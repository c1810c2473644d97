/** A module of the platform, loaded when it is first needed: `node:vm` alone takes 15 ms. */
export function builtin<N extends "node:module" | "node:vm">(name: N) {
  return globalThis.process.getBuiltinModule(name);
}
