import type { Held, MemoryShare } from "../memory/share.ts";
import type { RootKey } from "./root_keys.ts";

/** More came than there was room for. */
export interface Overflow {
  /** Documents that had room. */
  readonly documents: number;
  /** The room that the next one would have needed by itself. */
  readonly room: number;
}

/** How the documents of keys are worked on in bounded memory. */
export interface PortionOptions {
  /** Where the room is taken of. */
  readonly share: MemoryShare;
  /** The room that so many documents should need. */
  readonly roomOf: (documents: number) => number;
  /**
   * Works on a portion in the room that is held, and waits for no more of the share meanwhile. What has overflowed is done again from the
   * beginning, in smaller portions.
   */
  readonly work: (keys: readonly RootKey[], held: Held) => Promise<Overflow | null>;
}

/**
 * Works on the documents of keys, all at once where they have room, else in portions. How large documents are is seen when PostgreSQL has sent
 * them; one that is larger than all the room there may be is worked on when nobody else holds any.
 *
 * @throws what `work` throws; the signal's reason
 */
export async function inPortions(
  keys: readonly RootKey[],
  { share, roomOf, work }: PortionOptions,
  signal: AbortSignal,
): Promise<void> {
  const left = [{ keys, room: roomOf(keys.length) }];
  for (let portion = left.pop(); portion !== undefined; portion = left.pop()) {
    using held = await share.acquire(portion.room, signal);
    const overflow = await work(portion.keys, held);
    if (overflow === null) continue;
    const { length } = portion.keys;
    if (length === 1) {
      // It may have grown again meanwhile, or be several (rows of a view that share a key).
      const room = overflow.room > portion.room ? overflow.room : 2 * portion.room;
      left.push({ keys: portion.keys, room });
      continue;
    }
    // Half of what had room, for those that follow may be larger; and fewer than there were in any case.
    const size = Math.max(1, Math.min(Math.ceil(overflow.documents / 2), Math.ceil(length / 2)));
    for (let to = length; to > 0; to -= size) {
      const part = portion.keys.slice(Math.max(0, to - size), to);
      left.push({ keys: part, room: roomOf(part.length) });
    }
  }
}
