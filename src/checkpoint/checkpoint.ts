import { rmSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { PgsyncError } from "../errors/error.ts";
import type { Lsn } from "../replication/lsn.ts";
import { DeadLetterStore } from "./dead_letters.ts";
import { identityDifferences, readIdentity, writeIdentity } from "./identity.ts";
import { LoadStore } from "./load.ts";
import { forgetLastCommit, readLastCommit, readPosition, writePosition } from "./position.ts";
import { openDatabase, toCheckpointError } from "./sqlite.ts";
import { integer, text } from "./row.ts";
import { Transactions } from "./transactions.ts";
import type {
  DeadLetter,
  DeadLetterEntry,
  Identity,
  KnownCommit,
  LoadChunk,
  LoadProgress,
  NotedLoss,
  TakenDocument,
} from "./types.ts";

/** To follow an old primary, or a stranger, would put its rows over the right documents. */
const ANOTHER_SERVER =
  "Most often the address (PG_URL) leads to the wrong server, an old primary for one: correct it. Where this server is to be followed from " +
  "now on (pg_upgrade, a dump restored), start anew with `pgsync teardown` and --bootstrap.";

/**
 * The one file that a run keeps: whose it is, the position up to which everything is in the search engine, the
 * progress of the initial load, what the documents were made of, and the dead letters. Each method is durable when it returns; after a crash at any
 * instant the last committed state is there. One process at a time holds the file.
 *
 * Everything is synchronous: a commit takes a fraction of a millisecond, and the caller must not go on before it.
 *
 * Every method throws PgsyncError CHECKPOINT_UNUSABLE where the file cannot be read or written (a full disk, say).
 */
export class Checkpoint implements Disposable {
  readonly #database: DatabaseSync;
  readonly #loads: LoadStore;
  readonly #deadLetters: DeadLetterStore;
  readonly #transactions: Transactions;
  /** Called when dead letters came or went. */
  onDeadLetters: () => void = () => {};

  private constructor(readonly path: string) {
    this.#database = openDatabase(path);
    const recount = () => this.#sqlite(() => this.#deadLetters.recount());
    this.#transactions = new Transactions(this.#database, (use) => this.#sqlite(use), recount);
    try {
      this.#loads = new LoadStore(this.#database);
      this.#deadLetters = new DeadLetterStore(this.#database);
    } catch (thrown) {
      this.#database.close();
      throw toCheckpointError(thrown, path);
    }
  }

  /**
   * Opens the file, or makes it where there is none, and takes its lock. The folder must exist.
   *
   * @param path the file; SQLite lays `<path>-wal` beside it
   * @throws PgsyncError CHECKPOINT_LOCKED where another process holds it, CHECKPOINT_UNUSABLE where it cannot be read
   * or written, is damaged, or of a newer format
   */
  static open(path: string): Checkpoint {
    return new Checkpoint(path);
  }

  /**
   * Removes the file, unless another process holds it. No file is no error.
   *
   * @throws PgsyncError CHECKPOINT_LOCKED, CHECKPOINT_UNUSABLE
   */
  static remove(path: string): void {
    Checkpoint.open(path).close();
    for (const file of [path, `${path}-wal`]) rmSync(file, { force: true });
  }

  /** Lets go of the file. Closing twice is harmless. */
  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Runs `work` in one transaction: all that it writes is durable when this returns, or nothing of it when it throws.
   * Calls may nest; the outermost commits.
   *
   * @param work synchronous; a promise is refused
   * @throws whatever `work` throws
   */
  transaction<T>(work: () => T): T {
    return this.#transactions.run(work);
  }

  /** To whom the file belongs; null while nobody has adopted it. */
  identity(): Identity | null {
    return this.#sqlite(() => readIdentity(this.#database));
  }

  /** Makes the file belong to `identity`. What else it holds stays; `reset` clears it. */
  adopt(identity: Identity): void {
    this.#sqlite(() => writeIdentity(this.#database, identity));
  }

  /**
   * Checks that the file belongs to `expected`. A file without identity passes and stays without. A greater timeline
   * (a promoted standby) passes and is recorded; a smaller one does not.
   *
   * @throws PgsyncError CHECKPOINT_FOREIGN that names what differs
   */
  checkIdentity(expected: Identity): void {
    const found = this.identity();
    if (found === null) return;
    const differences = identityDifferences(found, expected);
    if (differences.length > 0) {
      const isOwn = found.database === expected.database && found.slot === expected.slot;
      throw this.#foreign(differences, isOwn ? { remedy: ANOTHER_SERVER } : {});
    }
    if (expected.timeline > found.timeline) this.adopt(expected);
  }

  /**
   * Checks that the file may be emptied or removed for a run: it is nobody's, or was written for a slot of the same name in a database of the same name,
   * be it of another server (one that was made anew).
   *
   * @throws PgsyncError CHECKPOINT_FOREIGN that names what differs
   */
  checkOwner({ database, slot }: Pick<Identity, "database" | "slot">): void {
    const found = this.identity();
    if (found === null || (found.database === database && found.slot === slot)) return;
    throw this.#foreign(identityDifferences(found, { ...found, database, slot }));
  }

  /** Forgets everything, the identity included, in one transaction: the state of a new file. */
  reset(): void {
    this.transaction(() => {
      this.#sqlite(() => {
        for (const table of ["identity", "position", "load_chunk", "load", "dead_letter", "source", "loss"]) {
          this.#database.exec(`DELETE FROM ${table}`);
        }
        this.#deadLetters.recount();
      });
    });
  }

  /** The stored position; null before the first. */
  position(): Lsn | null {
    return this.#sqlite(() => readPosition(this.#database));
  }

  /** The last transaction before the stored position; null where none is known. */
  lastCommit(): KnownCommit | null {
    return this.#sqlite(() => readLastCommit(this.#database));
  }

  /**
   * Stores a position; one before the stored position changes nothing.
   *
   * @param commit the last transaction before it, where there was one since the stored position
   * @returns what is stored now
   */
  savePosition(lsn: Lsn, commit: KnownCommit | null = null): Lsn {
    const stored = this.position();
    if (stored !== null && stored >= lsn) return stored;
    this.#sqlite(() => writePosition(this.#database, lsn, commit));
    return lsn;
  }

  /**
   * Part of the history of before is gone, the last transaction perhaps: all documents have to be compared with what the tables hold now, and a load that is not finished begins again.
   */
  forgetHistory(): void {
    this.transaction(() =>
      this.#sqlite(() => {
        this.#forgetDocuments();
        forgetLastCommit(this.#database);
      })
    );
  }

  /**
   * Goes on from where another process has come to with the slot, which kept a file of its own: all that was acknowledged before the position is in the
   * search engine, and nothing else of what this file says is certain any more, a noted loss neither. Dead letters stay, for trying them again tells.
   *
   * @param lsn up to which the slot is confirmed, beyond the stored position
   */
  followOn(lsn: Lsn): void {
    this.transaction(() => {
      this.#sqlite(() => {
        this.#forgetDocuments();
        this.#database.exec("DELETE FROM loss");
        forgetLastCommit(this.#database);
      });
      this.savePosition(lsn);
    });
  }

  /** How changes were lost, as `noteLoss` was told; null where none are known to be. */
  loss(): NotedLoss | null {
    return this.#sqlite(() => {
      const row = this.#database.prepare("SELECT code, reason, begun, by_name FROM loss").get();
      if (row === undefined) return null;
      return {
        code: text(row, "code"),
        reason: text(row, "reason"),
        begun: integer(row, "begun") === 1,
        byName: integer(row, "by_name") === 1,
      };
    });
  }

  /** Records that changes were lost, so that all documents have to be loaded anew. `reset` and `followOn` forget it. */
  noteLoss({ code, reason, begun, byName }: NotedLoss): void {
    this.#sqlite(() =>
      this.#database.prepare(
        "INSERT OR REPLACE INTO loss (one, code, reason, begun, by_name) VALUES (1, ?, ?, ?, ?)",
      ).run(code, reason, begun ? 1 : 0, byName ? 1 : 0)
    );
  }

  /** Takes a noted loss back: nothing was lost. */
  withdrawLoss(): void {
    this.#sqlite(() => this.#database.exec("DELETE FROM loss"));
  }

  /** Records the plan of an index's initial load, nothing of it done; replaces an earlier one. */
  planLoad(index: string, generation: string, chunks: readonly LoadChunk[]): void {
    this.transaction(() => this.#sqlite(() => this.#loads.plan(index, generation, chunks)));
  }

  /** The initial load of an index; null where none is planned. */
  load(index: string): LoadProgress | null {
    return this.#sqlite(() => this.#loads.read(index));
  }

  /**
   * Records that all documents of a chunk are acknowledged.
   *
   * @param documents how many
   * @throws PgsyncError INTERNAL where there is no such chunk
   */
  chunkDone(index: string, chunkNumber: number, documents: number): void {
    this.#sqlite(() => this.#loads.chunkDone(index, chunkNumber, documents));
  }

  /**
   * Records that the load is finished.
   *
   * @param endLsn the position that the stream must pass before the index is ready
   * @throws PgsyncError INTERNAL where no load is planned, or a chunk is not done
   */
  finishLoad(index: string, endLsn: Lsn): void {
    this.transaction(() => this.#sqlite(() => this.#loads.finish(index, endLsn)));
  }

  /** Forgets the load of an index, done or not. */
  forgetLoad(index: string): void {
    this.#sqlite(() => this.#loads.forget(index));
  }

  /** What the documents of an index were made of, as `saveSource` was told; null where nothing was. */
  source(index: string): string | null {
    return this.#sqlite(() => {
      const row = this.#database.prepare("SELECT description FROM source WHERE index_name = ?").get(index);
      return row === undefined ? null : text(row, "description");
    });
  }

  /** Records what the documents of an index are made of: whatever that changed, all of them are acknowledged. */
  saveSource(index: string, description: string): void {
    this.#sqlite(() =>
      this.#database.prepare("INSERT OR REPLACE INTO source (index_name, description) VALUES (?, ?)")
        .run(index, description)
    );
  }

  /**
   * Forgets what the documents of all other indices were made of: they miss the changes from now on.
   *
   * @param indices those that are followed
   * @returns those that were forgotten
   */
  keepSources(indices: readonly string[]): string[] {
    return this.transaction(() =>
      this.#sqlite(() => {
        const names = this.#database.prepare("SELECT index_name FROM source").all()
          .map((row) => text(row, "index_name"));
        const others = names.filter((name) => !indices.includes(name));
        const forget = this.#database.prepare("DELETE FROM source WHERE index_name = ?");
        for (const name of others) forget.run(name);
        return others;
      })
    );
  }

  /**
   * Adds refused documents. One that is there already keeps its first time, counts a further try, and takes the new
   * reason; its position too, unless that is not known.
   *
   * @returns those that were not there before
   */
  addDeadLetters(entries: readonly DeadLetterEntry[], now: Date): DeadLetterEntry[] {
    if (entries.length === 0) return [];
    const added = this.transaction(() => this.#sqlite(() => this.#deadLetters.add(entries, now)));
    if (added.length > 0) this.onDeadLetters();
    return added;
  }

  /**
   * Removes documents that the search engine has taken after all, unless a newer build of them was refused. Costs nothing
   * while the index has no dead letters.
   *
   * @returns how many were there
   */
  removeDeadLetters(index: string, taken: Iterable<TakenDocument>): number {
    return this.#fewerDeadLetters(index, () => this.#deadLetters.settle(index, taken));
  }

  /**
   * Forgets dead letters, whatever has become of the documents.
   *
   * @returns how many were there
   */
  dropDeadLetters(index: string, ids: Iterable<string>): number {
    return this.#fewerDeadLetters(index, () => this.#deadLetters.drop(index, ids));
  }

  #fewerDeadLetters(index: string, remove: () => number): number {
    if (this.#deadLetters.count(index) === 0) return 0;
    const removed = this.transaction(() => this.#sqlite(remove));
    if (removed > 0) this.onDeadLetters();
    return removed;
  }

  /** How many dead letters an index has; from memory. */
  deadLetterCount(index: string): number {
    return this.#deadLetters.count(index);
  }

  /**
   * Dead letters by index and id, in the order of their bytes.
   *
   * @param index of this index only; null: of all
   * @param after of that index, only ids behind this one; null: from the first on
   */
  listDeadLetters(
    index: string | null = null,
    limit = Number.MAX_SAFE_INTEGER,
    after: string | null = null,
  ): DeadLetter[] {
    return this.#sqlite(() => this.#deadLetters.list(index, limit, after));
  }

  /** The ids of an index's dead letters, in the order of their bytes. @param after as for `listDeadLetters` */
  deadLetterIds(index: string, limit: number, after: string | null): string[] {
    return this.#sqlite(() => this.#deadLetters.ids(index, limit, after));
  }

  /** How often each of the ids was refused; those that are no dead letters are left out. */
  deadLetterTries(index: string, ids: Iterable<string>): Map<string, number> {
    return this.#sqlite(() => this.#deadLetters.tries(index, ids));
  }

  /** Those of the ids that are dead letters. */
  findDeadLetters(index: string, ids: Iterable<string>): DeadLetter[] {
    return this.#sqlite(() => this.#deadLetters.find(index, ids));
  }

  /** What was loaded, and what it was made of. */
  #forgetDocuments(): void {
    for (const table of ["load_chunk", "load", "source"]) this.#database.exec(`DELETE FROM ${table}`);
  }

  #foreign(differences: readonly string[], details: { readonly remedy?: string } = {}): PgsyncError {
    return new PgsyncError(
      "CHECKPOINT_FOREIGN",
      `The checkpoint file ${this.path} belongs to another run: ${differences.join("; ")}.`,
      details,
    );
  }

  #sqlite<T>(use: () => T): T {
    try {
      return use();
    } catch (thrown) {
      throw toCheckpointError(thrown, this.path);
    }
  }
}
