import type { JetStreamManager, StoredMsg } from "@nats-io/jetstream";

/** Requests under way at once. */
const TOGETHER = 64;

/**
 * The last message of every subject that fits, in the order of the subjects, as the leader has them: a
 * consumer that breaks half-way would make a list that looks complete.
 */
export async function* latestMessages(
  { streams }: Pick<JetStreamManager, "streams">,
  stream: string,
  filter: string,
  wanted: (subject: string) => boolean = () => true,
): AsyncGenerator<StoredMsg> {
  const { state } = await streams.info(stream, { subjects_filter: filter });
  const subjects = Object.keys(state.subjects ?? {}).filter(wanted).sort();
  for (let at = 0; at < subjects.length; at += TOGETHER) {
    const some = subjects.slice(at, at + TOGETHER);
    const last = some.map((subject) => streams.getMessage(stream, { last_by_subj: subject }));
    for (const message of await Promise.all(last)) if (message) yield message;
  }
}
