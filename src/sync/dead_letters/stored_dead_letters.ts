import { getLogger } from "@logtape/logtape";
import { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { keysOf } from "../../documents/root_keys.ts";
import { ServerClock } from "../../documents/server_clock.ts";
import { SourceSession } from "../../documents/source_session.ts";
import { PgsyncError, toPgsyncError } from "../../errors/error.ts";
import { connectPostgres } from "../../postgres/connect.ts";
import { oneServer } from "../../postgres/server_identity.ts";
import { orAborted } from "../../retry/abort.ts";
import { isTemporary, patiently } from "../../retry/patience.ts";
import type { DocumentSchema } from "../../schema/tree.ts";
import { connectSearch, type SearchClient } from "../../search/client.ts";
import { OutsideWriter } from "../../verify/outside_writer.ts";
import { checkpointPath } from "../setup/checkpoint_path.ts";
import { CommandPatience } from "../command_patience.ts";
import { byDatabase, slotName } from "../database_mapping.ts";
import { type DatabaseState, identityOf, readDatabase } from "../database_state.ts";
import { type DeadLetterPlace, DeadLetters } from "./dead_letters.ts";
import { existingIndex } from "../setup/existing_index.ts";
import { type NotStored, openUnlessHeld } from "../setup/open_checkpoint.ts";
import type { RunOptions } from "../options.ts";
import { RunMemory } from "../run_memory.ts";
import { checkBelonging } from "../slot/slot_position.ts";
import { UnchangedSource } from "../source/unchanged_source.ts";

const logger = getLogger(["pgsync", "letters"]);

/** A server may be away for so long before the command gives up. */
const PATIENCE_MS = 60_000;

/** The dead letters in the checkpoint files, of which no run is using any. To be disposed of: until then no run can start. */
export interface StoredDeadLetters extends AsyncDisposable {
  readonly deadLetters: DeadLetters;
  /** Those of whose documents something is known. */
  readonly indices: readonly string[];
  /** The checkpoint files of the others: they are not there. */
  readonly missing: readonly string[];
}

/**
 * Opens the checkpoint files of some documents. None is made.
 *
 * @returns why they cannot be asked, where a run holds one or none is there
 * @throws PgsyncError CHECKPOINT_UNUSABLE
 */
export async function openStoredDeadLetters(
  run: RunOptions,
  documents: readonly DocumentSchema[],
  signal: AbortSignal,
): Promise<StoredDeadLetters | NotStored> {
  await using opened = new AsyncDisposableStack();
  const connection = new SearchConnection(run, signal);
  opened.use(connection);
  const places = new Map<string, DeadLetterPlace>();
  const missing: NotStored[] = [];
  for (const [database, own] of byDatabase(documents)) {
    const checkpoint = openUnlessHeld(checkpointPath(run, slotName(run.slot, database)));
    if (!(checkpoint instanceof Checkpoint)) {
      if (checkpoint.state === "held") return checkpoint;
      missing.push(checkpoint);
      continue;
    }
    opened.use(checkpoint);
    const place = new StoredPlace(run, database, own, checkpoint, connection, signal);
    opened.use(place);
    for (const { index } of own) places.set(index, place);
  }
  const [first] = missing;
  if (first !== undefined && places.size === 0) return first;
  const kept = opened.move();
  return {
    deadLetters: new DeadLetters(places, null),
    indices: [...places.keys()],
    missing: missing.map(({ path }) => path),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** The search engine, connected when it is needed. */
class SearchConnection implements AsyncDisposable {
  #client: Promise<SearchClient> | null = null;

  constructor(private readonly run: RunOptions, private readonly signal: AbortSignal) {}

  client(): Promise<SearchClient> {
    return this.#client ??= connectSearch(this.run.search, this.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = await this.#client?.catch(() => null);
    await client?.close();
  }
}

/** A checkpoint file, and what writes documents of its database in place of the run. */
class StoredPlace implements DeadLetterPlace, AsyncDisposable {
  readonly #opened = new AsyncDisposableStack();
  readonly #patience = new CommandPatience(PATIENCE_MS, logger);
  readonly #over = new AbortController();
  readonly #signal: AbortSignal;
  #writers: Promise<ReadonlyMap<string, OutsideWriter>> | null = null;

  constructor(
    private readonly run: RunOptions,
    private readonly database: string,
    private readonly documents: readonly DocumentSchema[],
    private readonly file: Checkpoint,
    private readonly connection: SearchConnection,
    signal: AbortSignal,
  ) {
    this.#signal = AbortSignal.any([signal, this.#patience.signal, this.#over.signal]);
  }

  checkpoint(): Checkpoint {
    return this.file;
  }

  async rewrite(index: string, ids: readonly string[]): Promise<void> {
    const late = new PgsyncError(
      "POSTGRES_BUSY",
      `PostgreSQL has not described the tables of database "${this.database}" within ${
        PATIENCE_MS / 1000
      } s.`,
    );
    const writers = await this.#patience.within(this.#writers ??= this.#open(), late, this.#signal);
    const writer = writers.get(index);
    if (writer === undefined) return;
    await orAborted(writer.write(keysOf(ids, writer.index.mapped), this.#signal), this.#signal);
  }

  /**
   * @throws PgsyncError SLOT_ACTIVE where a run follows the database from elsewhere, with another checkpoint file; as `refuseToWrite`;
   *   others as `readDatabase` and `existingIndex`
   */
  async #open(): Promise<ReadonlyMap<string, OutsideWriter>> {
    const { run, database, documents, file } = this;
    const slot = slotName(run.slot, database);
    const admin = connectPostgres(run.postgres, {
      ...{ database, purpose: "letters", max: 1, kind: "admin" },
      admit: oneServer(run.postgres),
    });
    this.#opened.defer(() => admin.end({ timeout: 0 }));
    const read = () => readDatabase(admin, database, documents, slot);
    const mayPass = (fault: PgsyncError) => isTemporary(fault);
    const state = await patiently(read, toPgsyncError, this.#patience.onFault, this.#signal, mayPass);
    if (state.slot?.active === true) {
      throw new PgsyncError("SLOT_ACTIVE", `Another process follows the slot "${slot}".`, {
        remedy: "Ask that one, by its status server (--url): it has dead letters of its own.",
      });
    }
    refuseToWrite(state, file);
    const limits = { lookups: 1, builders: run.bulkConcurrency + 1, loaders: 1 };
    const { server } = state.mapping.catalog;
    const session = new SourceSession(run.postgres, database, limits, null, server);
    this.#opened.use(session);
    const clock = new ServerClock(session);
    const search = await this.connection.client();
    const { work: memory } = new RunMemory(run, documents.length, 1);
    const writers = new Map<string, OutsideWriter>();
    for (const mapped of state.mapping.documents) {
      const source = new UnchangedSource(admin, state, mapped);
      const { generation } = await existingIndex(search, mapped, server.systemIdentifier, true, this.#signal);
      const options = {
        mapped,
        generation,
        session,
        clock,
        search,
        memory,
        concurrency: run.bulkConcurrency,
        onFault: this.#patience.onFault,
        onRequest: () => this.#patience.progress(),
        checkSource: () => source.check(),
      };
      writers.set(mapped.schema.index, new OutsideWriter(options, file));
    }
    return writers;
  }

  /** What is under way is cut off and not waited for: a transaction whose connection is closed may never end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new PgsyncError("INTERNAL", "The command is over."));
    await this.#opened.disposeAsync();
  }
}

/**
 * Nothing is written before the run has found out whether the documents are still those of the server: whoever notes the server's new
 * timeline in the file hides from the run that there was a failover.
 *
 * @throws PgsyncError CHECKPOINT_FOREIGN, HISTORY_DIVERGED
 */
function refuseToWrite(state: DatabaseState, file: Checkpoint): void {
  checkBelonging(identityOf(state), file, false);
  const remedy = "Start the run first: it finds out what became of the changes.";
  const loss = file.loss();
  if (loss !== null) throw new PgsyncError("HISTORY_DIVERGED", loss.reason, { remedy });
  const before = file.identity()?.timeline;
  const { timeline } = identityOf(state);
  if (before === undefined || before === timeline) return;
  throw new PgsyncError(
    "CHECKPOINT_FOREIGN",
    `The checkpoint file ${file.path} was written for timeline ${before}, and the server is on ${timeline} now: a standby was promoted.`,
    { remedy },
  );
}
