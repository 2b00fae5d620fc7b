import type { Cost, Measuring } from "../measure/run.ts";

/** Something that can load the documents. */
export interface Candidate {
  readonly name: string;
  /** What it is, for the report. */
  readonly description: string;
  /** Loads all documents into new indices; the time ends when all are acknowledged. @returns what it has cost */
  load(): Promise<Cost>;
  /** The indices or aliases that its documents are in after {@link Candidate.load}, in the order of the schema file. */
  readonly indices: readonly string[];
  /** Removes what the load has made. */
  clear(): Promise<void>;
}

/** A candidate that can follow changes after its load. */
export interface Follower extends Candidate {
  /** Starts it and waits until it has caught up. */
  follow(): Promise<Following>;
}

/** A candidate that follows. */
export interface Following {
  /** Keeps its account from now on. */
  measure(): Measuring;
  /** Bytes of memory that it has now, its helpers' included. */
  resident(): number;
  /** The text of its `/metrics`; null where it has none. */
  metrics(): Promise<string | null>;
  /** Ends it. @throws Error with its output where it does not end well */
  stop(): Promise<void>;
}
