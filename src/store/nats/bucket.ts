import type { StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { sleep, systemClock } from "../../core/clock.ts";
import { FlowError } from "../../core/errors.ts";
import { logFor } from "../../core/log.ts";
import { natsError } from "../../nats/errors.ts";
import type { NatsLease } from "../../nats/connect.ts";
import { checkJetStream } from "../../nats/jetstream.ts";

/** How a bucket is made when it is not there. */
export interface BucketSettings {
  readonly bucket: string;
  /** Versions kept of each key, 1 to 64. */
  readonly history: number;
  readonly replicas: number;
  /** Milliseconds that the marker of a deleted or expired key stays. */
  readonly tombstoneTtl: number;
}

/** What the bucket that is there can do. */
export interface Bucket {
  readonly stream: string;
  /** In front of every wire name. */
  readonly subjects: string;
  readonly history: number;
  /** Whether the server removes messages by their own TTL; it refuses a TTL otherwise. */
  readonly ttl: boolean;
  /** Whether one consumer may have several filters. */
  readonly filters: boolean;
  /** Whether a read past the leader sees everything: with one replica there is nothing else. */
  readonly direct: boolean;
  /** Bytes of one message that the stream takes, besides what the server takes. */
  readonly maxMessage: number;
}

/** Servers from this version on know TTLs of messages; older ones ignore them without a word. */
const TTL_SINCE = [2, 11] as const;
const FILTERS_SINCE = [2, 10] as const;

/** The server's number for a name that somebody else has just taken. */
const NAME_TAKEN = 10058;

/** For the server to say whether the bucket is there; milliseconds. */
const FIND_LIMIT = 1_000;
/** For a bucket that another node is making to be there, and between two looks for it. */
const MAKING_LIMIT = 5_000;
const LOOK_AGAIN = 50;

const NAME = /^[-_a-zA-Z0-9]+$/;

type Settings = Partial<StreamConfig> & { name: string };

/**
 * Opens the bucket; makes it when it is not there. One that is there is used as it is, and what is
 * different about it is logged.
 *
 * @throws {FlowError} `store.bucket_invalid`, `nats.no_jetstream`, `nats.unavailable` and the like
 */
export async function openBucket(lease: NatsLease, settings: BucketSettings): Promise<Bucket> {
  if (!NAME.test(settings.bucket)) {
    throw new FlowError("store.bucket_invalid", `Cannot use the bucket "${settings.bucket}"`, {
      hint: 'use letters, digits, "-" and "_" only',
    });
  }
  await checkJetStream(lease);
  try {
    const { info, made } = await findOrMake(lease, settings);
    if (!made) reportDifferences(settings, info.config, isSince(lease, TTL_SINCE));
    return describe(settings.bucket, info.config, lease);
  } catch (cause) {
    throw natsError(cause, `open the bucket ${settings.bucket}`);
  }
}

async function findOrMake(
  lease: NatsLease,
  settings: BucketSettings,
): Promise<{ info: StreamInfo; made: boolean }> {
  const { jetstreamManager } = await import("@nats-io/jetstream");
  const { streams } = await jetstreamManager(lease.connection, { checkAPI: false });
  const asking = await jetstreamManager(lease.connection, { checkAPI: false, timeout: FIND_LIMIT });
  const config = await streamConfig(settings, isSince(lease, TTL_SINCE));
  const find = () => asking.streams.info(config.name).then((info) => ({ info, made: false }));
  const end = systemClock.monotonic() + MAKING_LIMIT;
  for (;; await sleep(systemClock, LOOK_AGAIN)) {
    const over = systemClock.monotonic() >= end;
    try {
      return await find();
    } catch (cause) {
      const { code } = natsError(cause, "");
      // Nobody speaks for a stream that has no leader yet.
      if (code === "nats.timeout" && !over) continue;
      if (code !== "nats.stream_missing") throw cause;
    }
    try {
      return { info: await streams.add(config), made: true };
    } catch (cause) {
      // Another node may have made it meanwhile, with settings of its own. In a cluster the name is
      // taken before the stream is there.
      if ((cause as { code?: unknown }).code !== NAME_TAKEN) {
        return await find().catch(() => Promise.reject(cause));
      }
      if (over) throw beingMade(settings.bucket, cause);
    }
  }
}

function beingMade(bucket: string, cause: unknown): FlowError {
  const text = `Cannot open the bucket ${bucket}: another node is making it`;
  return new FlowError("nats.unavailable", text, { cause });
}

/** A stream as every KV client makes it for a bucket. */
async function streamConfig(
  { bucket, history, replicas, tombstoneTtl }: BucketSettings,
  ttl: boolean,
): Promise<Settings> {
  const { DiscardPolicy, RetentionPolicy, StorageType } = await import("@nats-io/jetstream");
  return {
    name: `KV_${bucket}`,
    subjects: [`$KV.${bucket}.>`],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_msgs_per_subject: history,
    max_bytes: -1,
    max_msg_size: -1,
    num_replicas: replicas,
    allow_rollup_hdrs: true,
    deny_delete: true,
    allow_direct: true,
    // No revision of a bucket of that name that was lost may ever mean something in this one.
    first_seq: systemClock.now(),
    ...(ttl && {
      allow_msg_ttl: true,
      subject_delete_marker_ttl: Math.max(1, Math.ceil(tombstoneTtl / 1_000)) * 1e9,
    }),
  };
}

function describe(bucket: string, config: StreamConfig, lease: NatsLease): Bucket {
  return {
    stream: config.name,
    subjects: `$KV.${bucket}.`,
    history: config.max_msgs_per_subject,
    ttl: isSince(lease, TTL_SINCE) && config.allow_msg_ttl === true,
    filters: isSince(lease, FILTERS_SINCE),
    direct: config.allow_direct && config.num_replicas === 1,
    maxMessage: config.max_msg_size > 0 ? config.max_msg_size : Infinity,
  };
}

function reportDifferences(settings: BucketSettings, config: StreamConfig, ttl: boolean): void {
  const { bucket, history, replicas, tombstoneTtl } = settings;
  const markerTtl = (config.subject_delete_marker_ttl ?? 0) / 1e6;
  const differences = [
    config.max_msgs_per_subject !== history &&
    `history is ${config.max_msgs_per_subject}, not ${history}`,
    config.num_replicas !== replicas && `replicas is ${config.num_replicas}, not ${replicas}`,
    ttl && Math.abs(markerTtl - tombstoneTtl) >= 1_000 &&
    `tombstone_ttl is ${markerTtl / 1_000}s, not ${tombstoneTtl / 1_000}s`,
    config.max_age > 0 && `it forgets everything after ${config.max_age / 1e9}s`,
  ].filter((difference) => difference !== false);
  if (differences.length === 0) return;
  logFor("store").warning("A bucket has other settings than configured; it is used as it is", {
    bucket,
    differences,
  });
}

function isSince({ server: { version } }: NatsLease, since: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > since[0] || major === since[0] && minor >= since[1];
}
