import type { ServerClock } from "../documents/server_clock.ts";
import type { SourceSession } from "../documents/source_session.ts";
import type { WorkMemory } from "../documents/work_memory.ts";
import type { PgsyncError } from "../errors/error.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { SearchClient } from "../search/client.ts";
import { Comparison, type Difference } from "./comparison.ts";
import { differences, holdsContents } from "./differences.ts";
import { Repair } from "./repair.ts";
import { settle } from "./settle.ts";
import type { StreamPassage } from "./stream_passage.ts";
import type { IndexVerification, VerifiedDifference, VerifyOptions } from "./verification.ts";
import type { ProgressBoard } from "./progress_board.ts";

/** Documents that seem to differ are judged when there are so many, so that they do not fill the memory. */
const MOST_CANDIDATES = 5_000;
/** How often a document is mended before it counts as one that cannot be. */
const MOST_REPAIRS = 3;
/** The longest id that the search engine takes, in bytes. */
const LONGEST_ID_BYTES = 512;

/** Places of a document that are told. */
const MOST_PLACES = 10;

/** What the verification of one index works with. */
export interface IndexVerifierOptions {
  readonly options: VerifyOptions;
  /** Chunks compared at once. */
  readonly workers: number;
  /** Rows of a chunk, about. */
  readonly chunkRows: number;
  readonly memory: WorkMemory;
  /** Requests of a repair under way at once. */
  readonly concurrency: number;
  readonly mapped: MappedDocument;
  readonly generation: string;
  readonly session: SourceSession;
  readonly clock: ServerClock;
  readonly search: SearchClient;
  /** Waits for the sync that runs; null where none does. */
  readonly passage: StreamPassage | null;
  /** Of some ids, those of dead letters, with the reason. It returns null where that is not to be known; null: it never is. */
  readonly refused: ((ids: readonly string[]) => ReadonlyMap<string, string> | null) | null;
  readonly onFault: (fault: PgsyncError) => void;
  /** Refuses where documents are built in another way than when the verification began. */
  readonly checkSource: () => Promise<void>;
  readonly progress: ProgressBoard;
  /** Documents were mended beside the sync, whose list of dead letters may hold some of them. */
  readonly onRepaired: (ids: readonly string[]) => Promise<void>;
}

/** Compares one index, judges what differs, and mends it where that is asked for. */
export class IndexVerifier {
  readonly #told: VerifiedDifference[] = [];
  readonly #counts = { missing: 0, extra: 0, different: 0, refused: 0, unsettled: 0 };
  #repaired = 0;
  /** Whether it was known of every difference if its document is a dead letter. */
  #refusedKnown: boolean;

  constructor(private readonly options: IndexVerifierOptions) {
    this.#refusedKnown = options.refused !== null;
  }

  /** @throws PgsyncError SOURCE_CHANGED, others; the signal's reason */
  async verify(signal: AbortSignal): Promise<IndexVerification> {
    const { options, mapped, session, passage, onFault, checkSource, progress } = this.options;
    const contents = await session.untilDone(
      () => holdsContents(this.options, signal),
      "describe the index",
      onFault,
      signal,
    );
    const comparison = new Comparison({ ...this.options, contents, places: MOST_PLACES });
    const onRequest = () => progress.update({});
    const repair = options.repair ? new Repair({ ...this.options, comparison, onRequest }) : null;

    const candidates = new Set<string>();
    const judge = async () => {
      const ids = [...candidates];
      candidates.clear();
      if (ids.length > 0) await this.#judge(ids, comparison, repair, signal);
      progress.update({ candidates: 0 });
    };
    const found = differences({
      ...this.options,
      contents,
      scope: options.scope,
      // Whether it counts, and where it differs, is seen at the second look.
      places: 0,
      onProgress: ({ compared, listed }) =>
        progress.update({ compared, listed, phase: listed > 0 ? "listing" : "comparing" }),
    }, signal);
    for await (const page of found) {
      for (const { id } of page) candidates.add(id);
      progress.update({ candidates: candidates.size });
      if (candidates.size >= MOST_CANDIDATES) await judge();
    }
    await judge();
    // Nothing of what was found is told before it is known what it was compared with.
    await session.untilDone(checkSource, "describe its tables", onFault, signal);
    const { compared, listed } = progress.now;
    return {
      database: session.database,
      index: mapped.schema.index,
      contents,
      judged: passage === null ? "present" : "stream",
      compared,
      listed,
      ...this.#counts,
      refusedKnown: this.#refusedKnown || repair !== null,
      repaired: this.#repaired,
      differences: this.#told,
    };
  }

  async #judge(
    ids: readonly string[],
    comparison: Comparison,
    repair: Repair | null,
    signal: AbortSignal,
  ): Promise<void> {
    const first = await this.#settle(ids, comparison, signal);
    const wrong: Difference[] = [];
    const letters = this.#deadLetters(first.differences);
    for (const difference of first.differences) {
      const reason = refusal(difference, letters);
      if (reason === null) wrong.push(difference);
      else this.#tell({ ...difference, kind: "refused", reason, repaired: false });
    }
    for (const id of first.unsettled) this.#tellUnsettled(id);
    if (repair === null) {
      for (const difference of wrong) this.#tellWrong(difference, false);
      return;
    }
    const remaining = await this.#mend(wrong, comparison, repair, signal);
    if (this.options.passage !== null) {
      const repaired = wrong.filter(({ id }) => !remaining.has(id)).map(({ id }) => id);
      if (repaired.length > 0) await this.options.onRepaired(repaired);
    }
    for (const difference of wrong) {
      const reason = repair.refused.get(difference.id);
      const still = remaining.has(difference.id);
      if (reason === undefined || !still) this.#tellWrong(difference, !still);
      else this.#tell({ ...difference, kind: "refused", reason, repaired: false });
    }
  }

  /** @returns the ids of documents that could not be mended */
  async #mend(
    wrong: readonly Difference[],
    comparison: Comparison,
    repair: Repair,
    signal: AbortSignal,
  ): Promise<ReadonlySet<string>> {
    let left = wrong;
    let unsettled: readonly string[] = [];
    for (let attempt = 0; attempt < MOST_REPAIRS && left.length > 0; attempt++) {
      this.options.progress.update({ phase: "repairing" });
      await repair.mend(left, signal);
      await this.options.passage?.passPresent(signal);
      const settled = await this.#settle(left.map(({ id }) => id), comparison, signal);
      left = settled.differences;
      unsettled = [...unsettled, ...settled.unsettled];
    }
    return new Set([...left.map(({ id }) => id), ...unsettled]);
  }

  async #settle(ids: readonly string[], comparison: Comparison, signal: AbortSignal) {
    const { passage, progress } = this.options;
    const passPresent = passage === null ? null : async (stop: AbortSignal) => {
      progress.update({ phase: "waiting" });
      await passage.passPresent(stop);
    };
    return await settle(ids, comparison, passPresent, signal);
  }

  /** What the sync knows of refused documents stands in its checkpoint file. */
  #deadLetters(differences: readonly Difference[]): ReadonlyMap<string, string> {
    if (this.options.refused === null || differences.length === 0) return new Map();
    const known = this.options.refused(differences.map(({ id }) => id));
    this.#refusedKnown &&= known !== null;
    return known ?? new Map();
  }

  #tellWrong({ kind, ...difference }: Difference, repaired: boolean): void {
    if (kind === "unmakeable") return;
    if (repaired) this.#repaired++;
    this.#tell({ ...difference, kind, repaired });
  }

  #tellUnsettled(id: string): void {
    this.#tell({ id, kind: "unsettled", changes: [], reason: null, repaired: false });
  }

  #tell({ id, kind, changes, reason, repaired }: VerifiedDifference): void {
    this.#counts[kind]++;
    if (this.#told.length < this.options.options.limit) {
      this.#told.push({ id, kind, changes, reason, repaired });
    }
  }
}

/** Why a document is refused; null where it is not, as far as is known. */
function refusal(
  { id, kind, reason }: Difference,
  deadLetters: ReadonlyMap<string, string>,
): string | null {
  if (kind === "unmakeable") return reason;
  if (kind === "extra") return null;
  if (Buffer.byteLength(id) > LONGEST_ID_BYTES) return `its _id has more than ${LONGEST_ID_BYTES} bytes`;
  return deadLetters.get(id) ?? null;
}
