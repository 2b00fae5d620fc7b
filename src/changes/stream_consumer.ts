import type { KnownCommit } from "../checkpoint/types.ts";
import type { Lsn } from "../replication/lsn.ts";
import type { PgoutputMessage, RowChange } from "../replication/pgoutput_types.ts";
import type { WalPlace } from "../replication/stream.ts";
import type { ChangeCollector } from "./change_collector.ts";
import type { ChangePipeline } from "./change_pipeline.ts";
import type { ResumePoint } from "./resume_point.ts";
import type { SyncObserver } from "../status/status.ts";

type Operation = RowChange["kind"] | "truncate";

/** Reads the messages of the stream: puts row changes and positions into the pipeline's batch. */
export class StreamConsumer {
  /** The transaction whose messages are arriving. */
  #transaction: { readonly id: number; readonly commitLsn: Lsn; readonly committedAt: number } | null = null;
  /** It is in the index already. */
  #isTaken = false;
  /** Row changes of this transaction by table and operation. */
  #counts = new Map<string, { table: string; operation: Operation; count: number }>();
  /** Commit time of the last transaction received, in milliseconds since 1970. */
  lastCommitAt: number | null = null;
  /** How far the stream has been read. */
  received: Lsn = 0n;

  constructor(
    private readonly collector: ChangeCollector,
    private readonly pipeline: ChangePipeline,
    private readonly observe: SyncObserver,
    /** Tells which transactions a session brings once more; they are dropped. */
    private readonly resume: ResumePoint,
  ) {}

  /**
   * A new connection begins: a transaction that was cut off will be sent again from its start.
   *
   * @param confirmed how far the slot was confirmed by then; null: not known
   */
  onConnect(confirmed: Lsn | null): void {
    this.resume.onConnect(confirmed);
    this.#transaction = null;
    this.#isTaken = false;
    this.#counts.clear();
  }

  /** @throws PgsyncError OLD_VALUE_MISSING; SERVER_CHANGED where the server has another history than was taken */
  onMessage(message: PgoutputMessage, { walEnd }: Pick<WalPlace, "walEnd">): void {
    this.#receivedUpTo(walEnd);
    if (this.#isTaken && message.kind !== "commit") return;
    switch (message.kind) {
      case "begin":
        this.#transaction = {
          id: message.xid,
          commitLsn: message.finalLsn,
          committedAt: message.commitTimeMs,
        };
        this.#isTaken = this.resume.isTaken(message);
        break;
      case "insert":
      case "update":
      case "delete":
        this.#count(message.kind, `${message.relation.schema}.${message.relation.table}`);
        this.collector.collect(message, this.#transaction?.id ?? 0, this.pipeline.collecting);
        this.pipeline.changed();
        break;
      case "truncate":
        for (const relation of message.relations) {
          this.#count("truncate", `${relation.schema}.${relation.table}`);
        }
        this.collector.truncated(message, this.#transaction?.id ?? 0, this.pipeline.collecting);
        this.pipeline.changed();
        break;
      case "commit": {
        const ended = this.#isTaken ? null : this.#transaction;
        this.resume.passed(message.endLsn);
        this.#transaction = null;
        this.#isTaken = false;
        this.lastCommitAt = message.commitTimeMs;
        this.#tell();
        this.#moveTo(
          message.endLsn,
          ended === null ? null : { lsn: ended.commitLsn, xid: ended.id, timeMs: ended.committedAt },
        );
        break;
      }
      case "relation":
      case "type":
      case "origin":
      case "message":
        // Relations come with the changes; the rest says nothing about rows.
        if (this.#transaction === null && message.kind === "message") this.resume.passed(walEnd);
        break;
    }
  }

  /**
   * Everything before `walEnd` was sent, so an idle database's position can follow a busy server's.
   *
   * @throws PgsyncError SERVER_CHANGED as `onMessage`
   */
  onKeepalive(walEnd: Lsn): void {
    this.#receivedUpTo(walEnd);
    if (this.#transaction !== null) return;
    this.resume.passed(walEnd);
    this.#moveTo(walEnd);
  }

  #receivedUpTo(walEnd: Lsn): void {
    if (walEnd > this.received) this.received = walEnd;
  }

  #moveTo(position: Lsn, commit: KnownCommit | null = null): void {
    const batch = this.pipeline.collecting;
    // A session that was cut had come further, perhaps.
    if (batch.position === null || position > batch.position) {
      batch.position = position;
      batch.lastCommit = commit ?? batch.lastCommit;
    }
    this.pipeline.changed();
  }

  #count(operation: Operation, table: string): void {
    const batch = this.pipeline.collecting;
    batch.changes++;
    if (this.#transaction !== null) {
      batch.oldestCommit ??= this.#transaction.committedAt;
      // They come in the order of their commits.
      batch.commitLsn = this.#transaction.commitLsn;
    }
    const key = `${operation} ${table}`;
    const known = this.#counts.get(key);
    if (known === undefined) this.#counts.set(key, { table, operation, count: 1 });
    else known.count++;
  }

  #tell(): void {
    for (const counted of this.#counts.values()) this.observe({ type: "changes", ...counted });
    this.#counts.clear();
  }
}
