import type { Lsn } from "../replication/lsn.ts";
import type { PgoutputMessage, RowChange } from "../replication/pgoutput_types.ts";
import type { WalPlace } from "../replication/stream.ts";
import type { ChangeCollector } from "./change_collector.ts";
import type { ChangePipeline } from "./change_pipeline.ts";
import type { SyncObserver } from "../status/status.ts";

type Operation = RowChange["kind"] | "truncate";

/** Reads the messages of the stream: puts row changes and positions into the pipeline's batch. */
export class StreamConsumer {
  /** The transaction whose messages are arriving. */
  #transaction: { readonly id: number; readonly commitLsn: Lsn; readonly committedAt: number } | null = null;
  /** It is in the index already. */
  #isDurable = false;
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
    /**
     * All before it is in the index: the durable position. A session that began at the slot's own, which may be behind it, brings
     * transactions once more; they are dropped.
     */
    private readonly durable: Lsn,
  ) {}

  /** A new connection begins: a transaction that was cut off will be sent again from its start. */
  onConnect(): void {
    this.#transaction = null;
    this.#isDurable = false;
    this.#counts.clear();
  }

  /** @throws PgsyncError OLD_VALUE_MISSING */
  onMessage(message: PgoutputMessage, { walEnd }: Pick<WalPlace, "walEnd">): void {
    this.#receivedUpTo(walEnd);
    if (this.#isDurable && message.kind !== "commit") return;
    switch (message.kind) {
      case "begin":
        this.#transaction = {
          id: message.xid,
          commitLsn: message.finalLsn,
          committedAt: message.commitTimeMs,
        };
        // The server compares a position with the start of the commit record, too.
        this.#isDurable = message.finalLsn < this.durable;
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
      case "commit":
        this.#transaction = null;
        this.#isDurable = false;
        this.lastCommitAt = message.commitTimeMs;
        this.#tell();
        this.#moveTo(message.endLsn);
        break;
      case "relation":
      case "type":
      case "origin":
      case "message":
        // Relations come with the changes; the rest says nothing about rows.
        break;
    }
  }

  /** Everything before `walEnd` was sent, so an idle database's position can follow a busy server's. */
  onKeepalive(walEnd: Lsn): void {
    this.#receivedUpTo(walEnd);
    if (this.#transaction === null) this.#moveTo(walEnd);
  }

  #receivedUpTo(walEnd: Lsn): void {
    if (walEnd > this.received) this.received = walEnd;
  }

  #moveTo(position: Lsn): void {
    const batch = this.pipeline.collecting;
    if (batch.position === null || position > batch.position) batch.position = position;
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
