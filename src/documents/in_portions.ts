import type { Held, MemoryShare } from "../memory/share.ts";
import type { RootKey } from "./root_keys.ts";

/** More came than there was room for. */
export interface Overflow {
  /** Documents that had room. */
  readonly documents: number;
  /** The room that the next one would have needed by itself. */
  readonly room: number;
  /** Of which key that is. */
  readonly key?: RootKey;
}

/** What is left to do when the room of a portion was given back. */
export interface Unfinished {
  /** It may wait for PostgreSQL, or for anybody. */
  readonly outside: () => Promise<void>;
  /** Whether the portion is worked on again then, from the beginning. */
  readonly again: boolean;
}

/** How the documents of keys are worked on in bounded memory. */
export interface PortionOptions {
  /** Where the room is taken of. */
  readonly share: MemoryShare;
  /** The room that so many documents should need. */
  readonly roomOf: (documents: number) => number;
  /**
   * Works on a portion in the room that is held, and waits neither for more of the share meanwhile nor for another attempt. What has
   * overflowed is done again from the beginning, in smaller portions.
   */
  readonly work: (keys: readonly RootKey[], held: Held) => Promise<Overflow | Unfinished | null>;
}

/**
 * Works on the documents of keys, all at once where they have room, else in portions. How large documents are is seen when PostgreSQL has sent
 * them; one that is larger than all the room there may be is worked on when nobody else holds any.
 *
 * @throws what `work` and `outside` throw; the signal's reason
 */
export async function inPortions(
  keys: readonly RootKey[],
  { share, roomOf, work }: PortionOptions,
  signal: AbortSignal,
): Promise<void> {
  const inRoom = async ({ keys, room }: Portion) => {
    using held = await share.acquire(room, signal);
    return await work(keys, held);
  };
  const left: Portion[] = [{ keys, room: roomOf(keys.length) }];
  for (let portion = left.pop(); portion !== undefined; portion = left.pop()) {
    const outcome = await inRoom(portion);
    if (outcome === null) continue;
    if ("outside" in outcome) {
      await outcome.outside();
      if (outcome.again) left.push(portion);
    } else left.push(...parts(portion, outcome, roomOf));
  }
}

/** How a portion that has overflowed is worked on, the last one first. */
function parts(
  { keys, room }: Portion,
  overflow: Overflow,
  roomOf: PortionOptions["roomOf"],
): readonly Portion[] {
  const { length } = keys;
  if (length === 1) {
    // It may have grown again meanwhile, or be several (rows of a view that share a key).
    return [{ keys, room: overflow.room > room ? overflow.room : 2 * room }];
  }
  const half = Math.ceil(length / 2);
  const { key } = overflow;
  if (key !== undefined && overflow.room > roomOf(1) && keys.includes(key)) {
    // One that is large by itself says nothing of the others.
    const others = cut(keys.filter((each) => each !== key), half, roomOf);
    return [...others, { keys: [key], room: overflow.room }];
  }
  // Half of what had room, for those that follow may be larger; and fewer than there were in any case.
  return cut(keys, Math.max(1, Math.min(Math.ceil(overflow.documents / 2), half)), roomOf);
}

/** Pieces of so many keys, the last one first. */
function cut(keys: readonly RootKey[], size: number, roomOf: PortionOptions["roomOf"]): Portion[] {
  const pieces: Portion[] = [];
  for (let to = keys.length; to > 0; to -= size) {
    const piece = keys.slice(Math.max(0, to - size), to);
    pieces.push({ keys: piece, room: roomOf(piece.length) });
  }
  return pieces;
}

interface Portion {
  readonly keys: readonly RootKey[];
  readonly room: number;
}
