import type { Difference } from "../verify/comparison.ts";
import type { ComparisonScope } from "../verify/differences.ts";

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
export interface VerifiedDifference extends Pick<Difference, "id" | "changes"> {
  /** `refused`: the search engine or PostgreSQL refuses the document; `unsettled`: it changed whenever it was looked at. */
  readonly kind: "missing" | "extra" | "different" | "refused" | "unsettled";
  /** Why it was refused. */
  readonly reason: string | null;
  /** It was mended. */
  readonly repaired: boolean;
}

/** What was found out of one index. */
export interface IndexVerification {
  readonly database: string;
  readonly index: string;
  /** False: only the existence of documents was compared, for an ingest pipeline or the mapping changes what is stored. */
  readonly contents: boolean;
  /**
   * - `stream`: a sync runs; what counts as a difference was there after the stream had passed it
   * - `present`: none runs; what differs now counts
   */
  readonly judged: "stream" | "present";
  /** Documents of PostgreSQL that were compared, and ids of the index that were looked at. */
  readonly compared: number;
  readonly listed: number;
  readonly missing: number;
  readonly extra: number;
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
  readonly index: string;
  readonly phase: "comparing" | "listing" | "waiting" | "repairing";
  readonly compared: number;
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
