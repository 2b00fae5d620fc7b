import type { ComparisonScope } from "./differences.ts";
import type { ValueDifference } from "./value_differences.ts";

/** What is to be verified, and how. */
export interface VerifyOptions {
  /** Which documents. */
  readonly scope: ComparisonScope;
  /** Only these indices; null: all of the schema file. */
  readonly indices: readonly string[] | null;
  /** Write what differs anew, and remove what is extra. */
  readonly repair: boolean;
  /** How many differences of each index are told one by one. */
  readonly limit: number;
  /** How long a running sync may stand still, or a server be away, before it is given up; in seconds. */
  readonly waitSeconds: number;
}

/** The defaults of everything. */
export const VERIFY_DEFAULTS: VerifyOptions = {
  scope: { kind: "all" },
  indices: null,
  repair: false,
  limit: 20,
  waitSeconds: 300,
};

/** A difference that counts. */
export interface VerifiedDifference {
  /** The document's `_id`. */
  readonly id: string;
  /** Where the contents differ: the first places. */
  readonly changes: readonly ValueDifference[];
  /** `refused`: the search engine or PostgreSQL refuses the document; `unsettled`: it changed whenever it was looked at. */
  readonly kind: "missing" | "extra" | "different" | "refused" | "unsettled";
  /** Why it was refused. */
  readonly reason: string | null;
  /** It was mended. */
  readonly repaired: boolean;
}

/** What was found out of one index. */
export interface IndexVerification {
  /** The PostgreSQL database. */
  readonly database: string;
  /** The index, by its alias. */
  readonly index: string;
  /** False: only the existence of documents was compared, for an ingest pipeline or the mapping changes what is stored. */
  readonly contents: boolean;
  /**
   * - `stream`: a sync runs; what counts as a difference was there after the stream had passed it
   * - `present`: none runs; what differs now counts
   */
  readonly judged: "stream" | "present";
  /** Documents of PostgreSQL that were compared. */
  readonly compared: number;
  /** Ids of the index that were looked for in PostgreSQL. */
  readonly listed: number;
  /** Documents that have a root row and are not in the index. */
  readonly missing: number;
  /** Documents that are in the index and have no root row. */
  readonly extra: number;
  /** Documents whose contents differ. */
  readonly different: number;
  /** Documents that are not as they should be because they are refused; they do not count as differences. */
  readonly refused: number;
  /** False: a running sync holds the list of refused documents, so some may count as differences. */
  readonly refusedKnown: boolean;
  /** Documents that changed whenever they were looked at; they do not count as differences. */
  readonly unsettled: number;
  /** Of the missing, extra and different documents, those that were mended. */
  readonly repaired: number;
  /** The first differences, as many as were asked for. */
  readonly differences: readonly VerifiedDifference[];
}

/** How far a verification is. */
export interface VerifyProgress {
  /** The index, by its alias. */
  readonly index: string;
  /** What it does: `waiting` is for the stream to pass what was seen. */
  readonly phase: "comparing" | "listing" | "waiting" | "repairing";
  /** Documents of PostgreSQL that were compared so far. */
  readonly compared: number;
  /** Ids of the index that were looked for in PostgreSQL so far. */
  readonly listed: number;
  /** About how many documents there are to compare. */
  readonly estimate: number;
  /** Documents that seem to differ and wait to be judged. */
  readonly candidates: number;
  /** While it waits: how far the stream is behind, in bytes of WAL. */
  readonly behindBytes: number;
}

/** How many differences remain. */
export function remaining({ missing, extra, different, repaired }: IndexVerification): number {
  return missing + extra + different - repaired;
}
