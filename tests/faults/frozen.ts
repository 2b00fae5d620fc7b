/** A process that is frozen just before it sends documents, and another one that takes over its slot with a checkpoint file of its own. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { PROJECT } from "../../scripts/project.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import { type SharedElasticsearch, useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome, type PgsyncProcess } from "../support/pgsync_process.ts";
import { type TestDatabase, usePostgres } from "../support/postgres.ts";
import { assertEqualTree, connect, type Connection, makeTree, treeSchema } from "./tree.ts";

/** How the walsender of the frozen process comes to its end. */
export type WalsenderEnd = "operator" | "timeout";

/** The two processes after the change of hands. */
export interface Replaced {
  readonly database: TestDatabase;
  readonly elasticsearch: SharedElasticsearch;
  readonly index: string;
  readonly sql: Connection;
  /** Stopped (SIGSTOP) with a request in its hands that writes items 1 to 20 as they were, and deletes items 21 to 30. */
  readonly frozen: PgsyncProcess;
  /** Follows the slot. */
  readonly other: PgsyncProcess;
  /** Waits until the other has stored a position behind all that is written now. */
  settled(): Promise<void>;
  assertEqual(): Promise<void>;
}

/**
 * Freezes a process in the stream of a tree that is loaded, or in its load, and has another one take over.
 *
 * @param during in the load, the request holds items of the first chunks
 * @param settings of the index
 */
export async function freezeAndReplace(
  end: WalsenderEnd,
  during: "stream" | "load" = "stream",
  settings: Readonly<Record<string, string>> = {},
): Promise<Replaced> {
  const [postgres, elasticsearch] = await Promise.all([usePostgres(), useElasticsearch()]);
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("frozen");
  await makeTree(database.url, 200);
  const sql = connect(database.url);
  if (end === "timeout") await sql.unsafe(`ALTER DATABASE ${database.name} SET wal_sender_timeout = '2s'`);
  const homes = [1, 2].map(() =>
    pgsyncHome({
      schema: treeSchema(database.name, index, settings),
      postgresUrl: database.url,
      searchUrl: elasticsearch.url,
    })
  );
  const [first, second] = homes;
  assert.ok(first !== undefined && second !== undefined);
  if (during === "stream") {
    const { code, stderr } = await first.run(["--bootstrap"]);
    assert.equal(code, 0, stderr);
  }
  const frozen = await first.start(["--daemon", "--bootstrap"], {
    script: join(PROJECT, "tests/faults/program_with_fault.ts"),
    env: { TEST_MILESTONE: "before-bulk", TEST_TIMES: "1", TEST_SIGNAL: "SIGSTOP" },
  });
  if (during === "stream") {
    await frozen.ready();
    await sql.begin(async (transaction) => {
      await transaction`UPDATE item SET title = 'older' WHERE id <= 20`;
      await transaction`DELETE FROM item WHERE id BETWEEN 21 AND 30`;
    });
  }
  await frozen.logged(/reached before-bulk/);

  const other = await second.start(["--daemon"]);
  if (end === "operator") {
    const [, pid = ""] = await other.logged(/in use by process (\d+)/);
    await sql`SELECT pg_terminate_backend(${pid}::int)`;
  }
  await other.ready();

  return {
    ...{ database, elasticsearch, index, sql, frozen, other },
    settled: async () => {
      const lsn = await written(sql);
      await eventually(async () => {
        const [state] = (await other.status()).databases;
        assert.ok(parseLsn(state?.stream.confirmed ?? "") >= lsn);
      }, { what: "the other's position to move" });
    },
    assertEqual: async () => {
      await assertEqualTree(database.url, elasticsearch, index);
    },
  };
}

/** Writes something behind all that is committed. @returns its position */
async function written(sql: Connection): Promise<bigint> {
  const [row] = await sql<{ lsn: string }[]>`SELECT pg_logical_emit_message(true, 'test', '')::text AS lsn`;
  return parseLsn(row?.lsn ?? "");
}
