import { havePassed } from "./garbage.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { DeadLetterEntry } from "../checkpoint/types.ts";
import { PgsyncError } from "../errors/error.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import type { BulkRequest } from "../search/bulk_body.ts";
import type { BulkWriter } from "../search/bulk_writer.ts";
import type { SearchClient } from "../search/client.ts";
import type { RefusedItem } from "../search/bulk_answer.ts";
import { readVersions } from "../search/stored_versions.ts";
import { versionParts } from "../search/version.ts";
import { formatLsn, type Lsn } from "../replication/lsn.ts";
import { shortened } from "../status/foreign_text.ts";
import type { SyncObserver } from "../status/status.ts";
import type { UnmakeableDocument } from "./document_builder.ts";
import { RefusalLog } from "./refusal_log.ts";

/** Where refused documents are kept. */
export type DeadLetterBox = Pick<
  Checkpoint,
  "addDeadLetters" | "deadLetterCount" | "deadLetterIds" | "removeDeadLetters"
>;

/** What became of a request. */
export interface SentRequest {
  /** False where the documents grew too old to be sent: they must be built again. */
  readonly done: boolean;
  /** Of the documents that were refused and are to be there, those that the index does not hold at all. */
  readonly absent: readonly string[];
}

/** What was refused, and is to be kept; and of that the ids of documents that the index does not hold. */
interface Judged {
  readonly refusals: readonly RefusedItem[];
  readonly absent: readonly string[];
}

/** What an index writer works with. */
export interface IndexWriterOptions {
  readonly mapped: MappedDocument;
  /** The index behind the alias. */
  readonly generation: string;
  readonly client: SearchClient;
  readonly bulk: BulkWriter;
  /** Where refused documents are kept: the checkpoint, where the process holds it. */
  readonly checkpoint: DeadLetterBox;
  /** The greatest version that a document can have by now. */
  readonly newestVersion: () => Promise<bigint>;
  readonly observe: SyncObserver;
}

/**
 * Who writes: the initial load, the stream, or `pgsync verify --repair`, which may be another process than the one that
 * follows the stream.
 */
export type WriteSource = "load" | "stream" | "verify";

/**
 * Sends the documents of one index and settles what comes back: refused documents go to the dead letters, durably,
 * before anybody hears that the request is done; documents that were taken leave the list.
 */
export class IndexWriter {
  /** Documents written since the process started. */
  indexed = 0;
  /** Documents deleted since the process started. */
  deleted = 0;
  /** Every document has been written once, and nothing of the initial load is on its way. */
  isLoaded = false;
  #averageBytes = FIRST_GUESS_BYTES;
  readonly #refusals: RefusalLog;

  constructor(private readonly options: IndexWriterOptions) {
    this.#refusals = new RefusalLog(this.index);
  }

  get mapped(): MappedDocument {
    return this.options.mapped;
  }

  /** The index behind the alias. */
  get generation(): string {
    return this.options.generation;
  }

  /** The name that readers use. */
  get index(): string {
    return this.options.mapped.schema.index;
  }

  /** The size of a document with its action line, as it was lately. */
  get averageBytes(): number {
    return this.#averageBytes;
  }

  /**
   * Sends a request until every document in it is taken, refused, or found older than what the index holds.
   *
   * @param position the position of the changes that the documents were built for; null for the initial load
   * @param onAnswered called when the engine has said what is to become of each, or they have grown too old: what follows needs their ids only,
   *   and may wait for PostgreSQL, so their memory is to be given back here
   * @throws PgsyncError as `BulkWriter.send`; the signal's reason
   */
  async send(
    request: BulkRequest,
    source: WriteSource,
    position: Lsn | null,
    signal: AbortSignal,
    onAnswered: () => void = () => {},
  ): Promise<SentRequest> {
    const { bulk, checkpoint, observe } = this.options;
    let judged: Judged = { refusals: [], absent: [] };
    const outcome = await bulk.send(request, signal, async ({ refused }) => {
      judged = await this.#judge(
        refused.filter(({ id, operation }) => operation === "index" || id !== NO_ID),
        request,
        signal,
      );
      if (judged.refusals.length > 0 || checkpoint.deadLetterCount(this.index) > 0) {
        this.#settle(request, judged.refusals, position);
      }
    });
    onAnswered();
    if (outcome.stale) return { done: false, absent: [] };
    if (outcome.conflicts.length > 0) await this.#checkVersions(outcome.conflicts, signal);
    const { length } = request.items;
    if (length > 0) this.#weigh(request.body.length / length, length / 200);
    havePassed(request.items.length);
    this.indexed += outcome.indexed;
    this.deleted += outcome.deleted;
    observe({
      type: "bulk",
      index: this.index,
      source,
      indexed: outcome.indexed,
      deleted: outcome.deleted,
      conflicts: outcome.conflicts.length,
      deadLetters: judged.refusals.length,
      bytes: request.body.length,
      seconds: outcome.seconds,
    });
    return { done: true, absent: judged.absent };
  }

  /**
   * Keeps documents that PostgreSQL cannot make among the dead letters, durably, but for those of which the index holds a newer build. What the
   * index holds of the others stays as it is until their rows are mended.
   *
   * @param version that they would have had
   * @returns ids of those that the index does not hold: their rows may have been deleted since
   * @throws the signal's reason
   */
  async refuse(
    documents: readonly UnmakeableDocument[],
    version: bigint,
    source: WriteSource,
    position: Lsn | null,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    if (documents.length === 0) return [];
    const ids = documents.map(({ id }) => id);
    return await this.options.bulk.exclusively(ids, async () => {
      const held = await this.#heldVersions(ids, signal);
      const refused = documents.filter(({ id }) => (held?.get(id) ?? 0n) <= version);
      this.#keep(refused.map(({ id, fault }) => ({
        index: this.index,
        id,
        operation: "index",
        status: 0,
        type: `postgresql_${fault.sqlState}`,
        reason: fault.reason,
        position,
        version,
      })));
      this.options.observe({ type: "refused", index: this.index, source, deadLetters: refused.length });
      return ids.filter((id) => held?.has(id) !== true);
    }, signal);
  }

  /** Documents were larger than was thought. @param bytes of so many, action lines included */
  hasWeighed(documents: number, bytes: number): void {
    // The size of a few tells little of the others, but that these did not fit tells that they are large.
    if (documents > 1) this.#weigh(bytes / documents, 0.5);
  }

  /** Follows the documents' size, so that batches of keys can be cut to the size of a request. @param weight at most a half counts */
  #weigh(bytes: number, weight: number): void {
    this.#averageBytes += (bytes - this.#averageBytes) * Math.min(0.5, weight);
  }

  /** Tells what the log has still to say of refused documents. To be called when nothing is sent any more. */
  close(): void {
    this.#refusals.flush();
  }

  /** Puts what was refused on the list, and takes what was taken off it. */
  #settle(request: BulkRequest, refusals: readonly RefusedItem[], position: Lsn | null): void {
    const sent = new Map(request.items.map(({ id, version }) => [id, version]));
    this.#keep(refusals.map(({ id, operation, status, type, reason }) => ({
      index: this.index,
      id,
      operation,
      status,
      type,
      reason,
      position,
      version: sent.get(id) ?? 0n,
    })));
    for (const { id } of refusals) sent.delete(id);
    const taken = [...sent].map(([id, version]) => ({ id, version }));
    this.options.checkpoint.removeDeadLetters(this.index, taken);
  }

  /** A reason may quote the whole value. */
  #keep(entries: readonly DeadLetterEntry[]): void {
    const kept = entries.map((entry) => ({ ...entry, reason: shortened(entry.reason, LONGEST_REASON) }));
    this.#refusals.tell(this.options.checkpoint.addDeadLetters(kept, new Date()));
  }

  /** The ids of the documents that were refused and not taken since, page by page. @throws PgsyncError of the checkpoint file */
  *refusedIds(): Generator<readonly string[]> {
    const { checkpoint } = this.options;
    for (let after: string | null = null;;) {
      const ids: string[] = checkpoint.deadLetterIds(this.index, REFUSED_A_PAGE, after);
      after = ids.at(-1) ?? null;
      if (after === null) return;
      yield ids;
    }
  }

  /**
   * Leaves out refusals of documents of which the index holds a newer build: the engine reads a document before it looks
   * at its version. For the same reason one that the index does not hold may have been deleted by a newer write, which was answered before.
   */
  async #judge(
    refusals: readonly RefusedItem[],
    request: BulkRequest,
    signal: AbortSignal,
  ): Promise<Judged> {
    if (refusals.length === 0) return { refusals, absent: [] };
    const sent = new Map(request.items.map(({ id, version }) => [id, version]));
    const named = refusals.filter(({ id }) => id !== NO_ID);
    const written = named.filter(({ operation }) => operation === "index").map(({ id }) => id);
    const held = await this.#heldVersions(named.map(({ id }) => id), signal);
    if (held === null) return { refusals, absent: written };
    return {
      refusals: refusals.filter(({ id }) => (held.get(id) ?? 0n) <= (sent.get(id) ?? 0n)),
      absent: written.filter((id) => !held.has(id)),
    };
  }

  /** The versions that the index holds; null where it does not say: better one letter too many. */
  async #heldVersions(
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, bigint> | null> {
    const { client, generation } = this.options;
    try {
      return await readVersions(client, generation, ids, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      if (thrown instanceof PgsyncError) return null;
      throw thrown;
    }
  }

  /**
   * A conflict means that the index holds a newer build, which is well, unless its version lies beyond anything that
   * this server can have given: then every later write of the document would be lost.
   *
   * @throws PgsyncError INDEX_VERSION_AHEAD
   */
  async #checkVersions(conflicts: readonly string[], signal: AbortSignal): Promise<void> {
    const { client, generation, newestVersion } = this.options;
    let held: ReadonlyMap<string, bigint>;
    let newest: bigint;
    try {
      held = await readVersions(client, generation, conflicts.slice(0, CONFLICTS_LOOKED_AT), signal);
      newest = await newestVersion();
    } catch (thrown) {
      // A server is away: the next conflict is looked at again.
      if (thrown instanceof PgsyncError && thrown.next === "retry") return;
      throw thrown;
    }
    for (const [id, version] of held) {
      if (version <= newest) continue;
      const { timeline, lsn } = versionParts(version);
      throw new PgsyncError(
        "INDEX_VERSION_AHEAD",
        `Document "${id}" of index "${this.index}" has version ${version} (timeline ${timeline}, LSN ${
          formatLsn(lsn)
        }), ` +
          `which is beyond this PostgreSQL server's own: another cluster wrote it.`,
      );
    }
  }
}

/** The engine holds no document of this id, so it need not take the deletion of one, and does not. */
const NO_ID = "";

/** How many conflicting documents of a request have their versions read. */
const CONFLICTS_LOOKED_AT = 10;

/** Dead letters that are held in memory at once. */
const REFUSED_A_PAGE = 1_000;

/** Characters of a reason that are kept. */
const LONGEST_REASON = 2_000;

/** What a document is taken to weigh before the first one was seen. */
const FIRST_GUESS_BYTES = 4 * 1024;
