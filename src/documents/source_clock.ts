import type { Session } from "../postgres/session.ts";
import type { Lsn } from "../replication/lsn.ts";

/** A place in the server's history: what documents' versions are made of. */
export interface ServerMoment {
  readonly timeline: number;
  readonly lsn: Lsn;
}

/** What must be there to be read before anything is looked up or built. */
export interface ToSee {
  /** 32-bit ids of committed transactions. */
  readonly transactions: Iterable<number>;
  /** The last of their commit records; 0 where there are none. */
  readonly commitLsn: Lsn;
  /** All that the primary shows by now: somebody has looked at its catalog, and the stream tells nothing of it. */
  readonly present: boolean;
}

/** Nothing in particular: only the moment is of interest. */
export const NOTHING_TO_SEE: ToSee = { transactions: [], commitLsn: 0n, present: false };

/**
 * Tells when a change can be read by the sessions that build documents, and makes the moments that documents are built
 * for: `ServerClock` where they read from the primary, `StandbyClock` where they read from a hot standby.
 *
 * Of both holds what the versions rest on: a document of a moment holds every change whose batch was given that moment
 * or an earlier one.
 */
export interface SourceClock {
  /**
   * To be called once, before any moment is asked for: afterwards no document that another process has written has a
   * version beyond ours, and everything before the slot can be read.
   *
   * @throws PgsyncError of PostgreSQL; REPLICA_UNFIT; the signal's reason
   */
  takeOver(signal: AbortSignal): Promise<void>;

  /**
   * To be called whenever a session of the stream stands: another process may have followed the slot until then, also since `takeOver`, and have documents
   * on their way. Moments of changes that are asked for from now on lie behind its own.
   */
  slotTaken(): void;

  /**
   * Waits until sessions that begin a statement from now on see all of it.
   *
   * @returns the moment for the versions of what is built after this call
   * @throws PgsyncError of PostgreSQL; REPLICA_BEHIND, REPLICA_UNFIT; the signal's reason
   */
  afterVisible(toSee: ToSee, signal: AbortSignal): Promise<ServerMoment>;

  /**
   * The moment of what this one session reads from now on, for the initial load.
   *
   * @param session one connection, of the pool `loaders`
   * @throws postgres.js' errors of the session; PgsyncError as `afterVisible`; the signal's reason
   */
  now(session: Session, signal: AbortSignal): Promise<ServerMoment>;

  /**
   * Waits until everything that the primary shows now can be read. What is read from the primary's catalog and what
   * the building sessions read then do not contradict each other.
   *
   * @throws PgsyncError as `afterVisible`; the signal's reason
   */
  catchUp(signal: AbortSignal): Promise<void>;

  /** The end of the primary's WAL on disk: all that can have been read by now lies before it. @throws PgsyncError */
  position(): Promise<Lsn>;

  /** The greatest version that a document can have by now. @throws PgsyncError */
  newestVersion(): Promise<bigint>;

  /**
   * Writes a message into the primary's WAL, which moves the position and passes through the stream.
   *
   * @returns its position: behind every commit that could be seen before this call
   * @throws PgsyncError
   */
  writeSomething(): Promise<Lsn>;
}
