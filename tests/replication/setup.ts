import { randomBytes } from "node:crypto";
import { connectPostgres, type Sql } from "../../src/postgres/connect.ts";
import type { PostgresOptions } from "../../src/postgres/options.ts";
import type { QualifiedName } from "../../src/postgres/quote.ts";
import type { Lsn } from "../../src/replication/lsn.ts";
import type { PgoutputMessage } from "../../src/replication/pgoutput_types.ts";
import { ensurePublication } from "../../src/replication/publication.ts";
import { createSlot } from "../../src/replication/slot.ts";
import { ReplicationStream, type StreamSettings } from "../../src/replication/stream.ts";
import { eventually } from "../support/eventually.ts";
import { databaseOf, optionsOf } from "../postgres/options.ts";

/** A database with tables, a publication of them, and a slot. */
export interface Source {
  readonly options: PostgresOptions;
  readonly database: string;
  readonly slot: string;
  readonly publication: string;
  readonly sql: Sql;
}

/** Runs the DDL in the database, publishes the tables and creates a slot. */
export async function newSource(url: string, ddl: string, tables: readonly string[]): Promise<Source> {
  const options = optionsOf(url);
  const database = databaseOf(url);
  const sql = connectPostgres(options, { database, purpose: "test", max: 3, kind: "admin" });
  await sql.unsafe(ddl);
  const [row] = await sql`SELECT current_setting('server_version_num')::int AS version`;
  const publication = `Pub'of "test"`;
  await ensurePublication(sql, {
    name: publication,
    tables: tables.map((table): QualifiedName => ({ schema: "public", table })),
    version: row?.["version"],
  });
  const slot = `slot_${randomBytes(5).toString("hex")}`;
  await createSlot(sql, { name: slot, database });
  return { options, database, slot, publication, sql };
}

/** Keeps what a stream delivers, and confirms each commit if it shall. */
export class Recorder {
  readonly messages: PgoutputMessage[] = [];
  /** The end of the last commit. */
  position: Lsn = 0n;
  keepalive: Lsn = 0n;
  onCommit: (endLsn: Lsn) => void = () => {};

  readonly onMessage = (message: PgoutputMessage): void => {
    this.messages.push(message);
    if (message.kind === "commit") {
      this.position = message.endLsn;
      this.onCommit(message.endLsn);
    }
  };

  readonly onKeepalive = (walEnd: Lsn): void => {
    this.keepalive = walEnd;
  };

  count(kind: PgoutputMessage["kind"]): number {
    return this.messages.filter((message) => message.kind === kind).length;
  }

  /** Takes all messages once so many commits have come. */
  async takeCommits(count: number): Promise<PgoutputMessage[]> {
    await eventually(() => this.count("commit") >= count, { what: `${count} commits` });
    return this.messages.splice(0);
  }
}

/** Starts a stream that delivers to the recorder. */
export function startStream(
  source: Source,
  recorder: Recorder,
  changes: Partial<StreamSettings> = {},
): Promise<ReplicationStream> {
  const { options, database, slot, publication } = source;
  return ReplicationStream.start({
    options,
    database,
    slot,
    publication,
    position: 0n,
    startLsn: 0n,
    onMessage: recorder.onMessage,
    onKeepalive: recorder.onKeepalive,
    ...changes,
  });
}
