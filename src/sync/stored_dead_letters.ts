import { existsSync } from "node:fs";
import { getLogger } from "@logtape/logtape";
import { keysOf } from "../changes/indexed_keys.ts";
import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { ServerClock } from "../documents/server_clock.ts";
import { SourceSession } from "../documents/source_session.ts";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { connectPostgres } from "../postgres/connect.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import { connectSearch, type SearchClient } from "../search/client.ts";
import { OutsideWriter } from "../verify/outside_writer.ts";
import { checkpointPath } from "./checkpoint_path.ts";
import { CommandPatience } from "./command_patience.ts";
import { byDatabase, slotName } from "./database_mapping.ts";
import { identityOf, readDatabase } from "./database_state.ts";
import { type DeadLetterPlace, DeadLetters } from "./dead_letters.ts";
import { existingIndex } from "./existing_index.ts";
import type { RunOptions } from "./options.ts";
import { RunMemory } from "./run_memory.ts";
import { UnchangedSource } from "./unchanged_source.ts";

const logger = getLogger(["pgsync", "letters"]);

/** A server may be away for so long before the command gives up. */
const PATIENCE_MS = 60_000;

/** The dead letters in the checkpoint files, of which no run is using any. To be disposed of: until then no run can start. */
export interface StoredDeadLetters extends AsyncDisposable {
  readonly deadLetters: DeadLetters;
}

/** Why checkpoint files cannot be asked. */
export interface NotStored {
  readonly reason: "held" | "missing";
  readonly path: string;
}

/**
 * Opens the checkpoint files of some documents. None is made.
 *
 * @returns why they cannot be asked, where a run holds one or one is not there
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
  for (const [database, own] of byDatabase(documents)) {
    const path = checkpointPath(run, slotName(run.slot, database));
    const checkpoint = openExisting(path);
    if (!(checkpoint instanceof Checkpoint)) return checkpoint;
    opened.use(checkpoint);
    const place = new StoredPlace(run, database, own, checkpoint, connection, signal);
    opened.use(place);
    for (const { index } of own) places.set(index, place);
  }
  const kept = opened.move();
  return {
    deadLetters: new DeadLetters(places, null),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function openExisting(path: string): Checkpoint | NotStored {
  if (!existsSync(path)) return { reason: "missing", path };
  try {
    return Checkpoint.open(path);
  } catch (thrown) {
    const error = toPgsyncError(thrown);
    if (error.code !== "CHECKPOINT_LOCKED") throw error;
    return { reason: "held", path };
  }
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
    this.#signal = AbortSignal.any([signal, this.#patience.signal]);
  }

  checkpoint(): Checkpoint {
    return this.file;
  }

  async rewrite(index: string, ids: readonly string[]): Promise<void> {
    const writer = (await (this.#writers ??= this.#open())).get(index);
    if (writer === undefined) return;
    await writer.write(keysOf(ids, writer.index.mapped), this.#signal);
    this.#patience.progress();
  }

  /**
   * @throws PgsyncError SLOT_ACTIVE where a run follows the database from elsewhere, with another checkpoint file; CHECKPOINT_FOREIGN;
   *   others as `readDatabase` and `existingIndex`
   */
  async #open(): Promise<ReadonlyMap<string, OutsideWriter>> {
    const { run, database, documents, file } = this;
    const slot = slotName(run.slot, database);
    const admin = connectPostgres(run.postgres, { database, purpose: "letters", max: 1, kind: "admin" });
    this.#opened.defer(() => admin.end({ timeout: 1 }));
    const state = await readDatabase(admin, database, documents, slot);
    if (state.slot?.active === true) {
      throw new PgsyncError("SLOT_ACTIVE", `Another process follows the slot "${slot}".`, {
        remedy: "Ask that one, by its status server (--url): it has dead letters of its own.",
      });
    }
    file.checkIdentity(identityOf(state));
    const session = new SourceSession(run.postgres, database, {
      lookups: 1,
      builders: run.bulkConcurrency + 1,
      loaders: 1,
    });
    this.#opened.use(session);
    const clock = new ServerClock(session);
    const search = await this.connection.client();
    const { work: memory } = new RunMemory(run, documents.length, 1);
    const writers = new Map<string, OutsideWriter>();
    for (const mapped of state.mapping.documents) {
      const { systemIdentifier } = state.mapping.catalog.server;
      const source = new UnchangedSource(admin, state, mapped);
      const { generation } = await existingIndex(search, mapped, systemIdentifier, this.#signal);
      const options = {
        mapped,
        generation,
        session,
        clock,
        search,
        memory,
        concurrency: run.bulkConcurrency,
        onFault: this.#patience.onFault,
        checkSource: () => source.check(),
      };
      writers.set(mapped.schema.index, new OutsideWriter(options, file));
    }
    return writers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writers?.catch(() => {});
    await this.#opened.disposeAsync();
  }
}
