import { isLeftOut } from "../fault_points.ts";
import { formatLsn, type Lsn } from "../replication/lsn.ts";

/**
 * Versions of documents (`version_type: external_gte`): `timeline * 2^51 + LSN * 2 + (1 if from the stream)`.
 * A later LSN wins; of the same LSN the stream wins over the initial load; and a promoted standby wins over the
 * primary that it replaced, however far that one had come on its own timeline.
 */

/** Bits below the timeline: 50 of the LSN (a petabyte of WAL) and one that tells stream from load. */
const TIMELINE_SHIFT = 51n;
const LSN_LIMIT = 1n << (TIMELINE_SHIFT - 1n);
/** Versions are signed 64-bit numbers in the search engine. */
const VERSION_LIMIT = 1n << 63n;

/** What a version is made of. */
export interface VersionParts {
  readonly timeline: number;
  /** Read after the visibility check and before the snapshot in which the document was built. */
  readonly lsn: Lsn;
  /** The document was built for a change of the stream, not for the initial load. */
  readonly fromStream: boolean;
}

/**
 * The version under which a document is written.
 *
 * @throws RangeError where timeline or LSN do not fit into a version
 */
export function documentVersion({ timeline, lsn, fromStream }: VersionParts): bigint {
  if (!Number.isInteger(timeline) || timeline < 1) throw new RangeError(`not a timeline: ${timeline}`);
  if (lsn < 0n || lsn >= LSN_LIMIT) {
    throw new RangeError(`the LSN ${formatLsn(lsn)} does not fit into a version`);
  }
  const version = (BigInt(timeline) << TIMELINE_SHIFT) + (lsn << 1n) + (fromStream ? 1n : 0n);
  if (version >= VERSION_LIMIT) throw new RangeError(`the timeline ${timeline} does not fit into a version`);
  // One that is the same for all, so that whoever comes last wins.
  return isLeftOut("version-guard") ? 1n : version;
}

/** The parts of a version, for messages. */
export function versionParts(version: bigint): VersionParts {
  const low = version & ((1n << TIMELINE_SHIFT) - 1n);
  return {
    timeline: Number(version >> TIMELINE_SHIFT),
    lsn: low >> 1n,
    fromStream: (version & 1n) === 1n,
  };
}
