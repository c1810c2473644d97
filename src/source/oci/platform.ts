import { FlowError } from "../../core/errors.ts";
import type { Index, IndexEntry } from "./manifest.ts";

const ARCHITECTURES: Record<string, string> = { x86_64: "amd64", aarch64: "arm64" };

/**
 * `linux/amd64`, or `linux` with whatever this machine is: images for other systems are rare, and
 * the files in them are what is wanted.
 */
export function ownPlatform(): string {
  const { arch } = Deno.build;
  return `linux/${ARCHITECTURES[arch] ?? arch}`;
}

/**
 * The manifest of an index that is meant: the one for `platform`, or the only one that names none.
 *
 * @param platform `os/architecture[/variant]`
 * @param what For messages: the reference.
 * @throws {FlowError} `source.not_supported`
 */
export function chooseManifest({ manifests }: Index, platform: string, what: string): IndexEntry {
  const [os, architecture, variant] = platform.split("/");
  const fitting = manifests.find(({ platform: one }) =>
    one?.os === os && one?.architecture === architecture &&
    (variant === undefined || one?.variant === variant)
  );
  if (fitting) return fitting;
  const plain = manifests.filter((one) => !one.platform);
  if (plain.length === 1) return plain[0]!;
  const named = manifests.flatMap(({ platform: one }) => one ? [platformText(one)] : []);
  // Build tools file attestations under this one.
  const there = [...new Set(named)].filter((name) => name !== "unknown/unknown");
  throw new FlowError(
    "source.not_supported",
    there.length > 0
      ? `Cannot choose from the index ${what}: it has nothing for ${platform}`
      : `Cannot choose from the index ${what}: it holds ${plain.length} artifacts without platform`,
    {
      hint: there.length > 0
        ? `set platform to one of ${there.join(", ")}`
        : "name one of them by its digest",
    },
  );
}

function platformText({ os, architecture, variant }: NonNullable<IndexEntry["platform"]>): string {
  return [os, architecture, variant].filter(Boolean).join("/");
}
