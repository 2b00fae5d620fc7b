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
  const left: Portion[] = [{ keys, room: roomOf(keys.length) }];
  for (let portion = left.pop(); portion !== undefined; portion = left.pop()) {
    using held = await share.acquire(portion.room, signal);
    const overflow = await work(portion.keys, held);
    if (overflow === null) continue;
    left.push(...parts(portion, overflow, roomOf));
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
