import { getLogger } from "@logtape/logtape";
import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { ServerClock } from "../documents/server_clock.ts";
import type { WorkMemory } from "../documents/work_memory.ts";
import { SourceSession } from "../documents/source_session.ts";
import { PgsyncError } from "../errors/error.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { connectPostgres, type Sql } from "../postgres/connect.ts";
import { oneServer } from "../postgres/server_identity.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import { connectSearch, type SearchClient } from "../search/client.ts";
import { IndexVerifier } from "../verify/index_verifier.ts";
import { ProgressBoard } from "../verify/progress_board.ts";
import { StreamPassage } from "../verify/stream_passage.ts";
import type { IndexVerification, VerifyOptions, VerifyProgress } from "../verify/verification.ts";
import { checkpointPath } from "./setup/checkpoint_path.ts";
import { chooseDocuments } from "./choose_documents.ts";
import { CommandPatience } from "./command_patience.ts";
import { byDatabase, slotName } from "./database_mapping.ts";
import { type DatabaseState, readDatabase } from "./database_state.ts";
import { existingIndex } from "./setup/existing_index.ts";
import { openUnlessHeld } from "./setup/open_checkpoint.ts";
import type { RunOptions } from "./options.ts";
import { RunMemory } from "./run_memory.ts";
import { UnchangedSource } from "./source/unchanged_source.ts";

const logger = getLogger(["pgsync", "verify"]);

/**
 * Compares the documents of the indices with what PostgreSQL makes of its rows, and mends them where that is asked for.
 * It runs beside a sync: slot and checkpoint file are left to that one.
 *
 * @param onProgress told often
 * @param onRepaired told of documents that were mended beside a sync, whose dead letters some may be: it would keep them as such
 * @returns what was found, index after index
 * @throws PgsyncError INDEX_MISSING, INDEX_FOREIGN, INDEX_CHANGED, INDEX_NOT_LOADED, STREAM_STALLED, SOURCE_CHANGED; others of the
 *   servers; the signal's reason
 */
export async function* verify(
  run: RunOptions,
  options: VerifyOptions,
  signal: AbortSignal,
  onProgress: (progress: VerifyProgress) => void = () => {},
  onRepaired: (index: string, ids: readonly string[]) => Promise<void> = () => Promise.resolve(),
): AsyncGenerator<IndexVerification> {
  const chosen = chooseDocuments(run.schema.documents, options.indices);
  const search = await connectSearch(run.search, signal);
  try {
    for (const [database, documents] of byDatabase(chosen)) {
      const verifier = new DatabaseVerifier(
        run,
        options,
        database,
        search,
        { onProgress, onRepaired },
        signal,
      );
      yield* verifier.verify(documents);
    }
  } finally {
    await search.close();
  }
}

/** Who hears of a verification. */
interface VerifyListeners {
  readonly onProgress: (progress: VerifyProgress) => void;
  readonly onRepaired: (index: string, ids: readonly string[]) => Promise<void>;
}

/** Verifies the indices of one database. */
class DatabaseVerifier {
  readonly #patience: CommandPatience;
  readonly #signal: AbortSignal;
  readonly #memory: WorkMemory;

  constructor(
    private readonly run: RunOptions,
    private readonly options: VerifyOptions,
    private readonly database: string,
    private readonly search: SearchClient,
    private readonly listeners: VerifyListeners,
    signal: AbortSignal,
  ) {
    this.#patience = new CommandPatience(options.waitSeconds * 1000, logger);
    this.#signal = AbortSignal.any([signal, this.#patience.signal]);
    // One index after the other.
    this.#memory = new RunMemory(run, 1, 1).work;
  }

  async *verify(documents: readonly DocumentSchema[]): AsyncGenerator<IndexVerification> {
    const { run, database } = this;
    const slot = slotName(run.slot, database);
    const admin = connectPostgres(run.postgres, {
      ...{ database, purpose: "verify", max: 1, kind: "admin" },
      admit: oneServer(run.postgres),
    });
    try {
      const state = await readDatabase(admin, database, documents, slot);
      yield* this.#verify(admin, state, slot);
    } finally {
      await admin.end({ timeout: 1 });
    }
  }

  async *#verify(admin: Sql, state: DatabaseState, slot: string): AsyncGenerator<IndexVerification> {
    const { run, database } = this;
    const { mapping } = state;
    const workers = Math.max(1, run.loadWorkers);
    // Of the primary, also where a sync reads documents of a replica: what is compared must not be older than the index.
    const limits = {
      lookups: workers + 2,
      builders: Math.max(workers, run.bulkConcurrency) + 1,
      loaders: workers,
    };
    await using session = new SourceSession(run.postgres, database, limits, null, mapping.catalog.server);
    const clock = new ServerClock(session);
    for (const mapped of mapping.documents) {
      const { index } = mapped.schema;
      const source = new UnchangedSource(admin, state, mapped);
      const generation = await this.#openIndex(mapped, mapping.catalog.server.systemIdentifier);
      const progress = new ProgressBoard(index, mapped.root.relation.estimatedRows, (now) => {
        this.#patience.progress();
        this.listeners.onProgress(now);
      });
      const passage = new StreamPassage({
        session,
        clock,
        slot,
        patienceSeconds: this.options.waitSeconds,
        onFault: this.#patience.onFault,
        onWait: (behindBytes) => progress.update({ behindBytes }),
      });
      const followed = await passage.isFollowed(this.#signal);
      if (!followed) {
        logger.info("no sync follows the slot {slot}: index {index} is judged by its present state", {
          slot,
          index,
        });
      }
      const verifier = new IndexVerifier({
        options: this.options,
        workers,
        chunkRows: run.loadChunkRows,
        memory: this.#memory,
        concurrency: run.bulkConcurrency,
        mapped,
        generation,
        session,
        clock,
        search: this.search,
        passage: followed ? passage : null,
        refused: followed ? null : (ids) => deadLetters(run, slot, index, ids),
        onFault: this.#patience.onFault,
        checkSource: () => source.check(),
        progress,
        onRepaired: (ids) => this.listeners.onRepaired(index, ids),
      });
      yield await verifier.verify(this.#signal);
    }
  }

  /** @returns the index behind the alias */
  async #openIndex(mapped: MappedDocument, systemIdentifier: string): Promise<string> {
    const { index } = mapped.schema;
    const { generation, loaded } = await existingIndex(
      this.search,
      mapped,
      systemIdentifier,
      this.options.repair,
      this.#signal,
    );
    if (loaded) return generation;
    throw new PgsyncError(
      "INDEX_NOT_LOADED",
      `The documents of the index "${index}" have not all been loaded yet.`,
    );
  }
}

/**
 * Of some documents, those that the search engine or PostgreSQL refused, with the reason. Only asked for where no sync runs.
 *
 * @returns null where the checkpoint file cannot be asked, for one has started meanwhile
 */
function deadLetters(
  run: RunOptions,
  slot: string,
  index: string,
  ids: readonly string[],
): ReadonlyMap<string, string> | null {
  const checkpoint = openUnlessHeld(checkpointPath(run, slot));
  if (!(checkpoint instanceof Checkpoint)) return checkpoint.state === "missing" ? new Map() : null;
  using file = checkpoint;
  return new Map(file.findDeadLetters(index, ids).map(({ id, reason }) => [id, reason]));
}
