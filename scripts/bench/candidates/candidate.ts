import type { Cost } from "../measure/run.ts";

/** Something that can load the documents. */
export interface Candidate {
  readonly name: string;
  /** What it is, for the report. */
  readonly description: string;
  /** Loads all documents into a new index; the time ends when all are acknowledged. @returns what it has cost */
  load(): Promise<Cost>;
  /** The index or alias that its documents are in after {@link Candidate.load}. */
  readonly index: string;
  /** Removes what the load has made. */
  clear(): Promise<void>;
}
