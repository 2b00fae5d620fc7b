/** A tree that is followed with a checkpoint file, for tests of what becomes of that. */
import assert from "node:assert/strict";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { type Ended, pgsyncHome } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";
import { assertEqualTree, connect, makeTree, treeSchema } from "./tree.ts";

/** A tree of its own, loaded, and a run that has ended. */
export async function prepare(items = 300) {
  const [postgres, elasticsearch] = await Promise.all([usePostgres(), useElasticsearch()]);
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("file");
  await makeTree(database.url, items);
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: elasticsearch.url,
  });
  const slot = `pgsync_${database.name}`;
  const sql = connect(database.url);
  const change = async () => {
    await sql`UPDATE item SET amount = amount + 1 WHERE id <= 50`;
    await sql`DELETE FROM item WHERE id = (SELECT max(id) FROM item)`;
  };
  return {
    database,
    index,
    home,
    slot,
    file: home.checkpointFile(slot),
    sql,
    change,
    /** Runs to the end, which must be a good one. */
    async caughtUp(...args: string[]): Promise<Ended> {
      const ended = await home.run(args);
      assert.equal(ended.code, 0, ended.stderr);
      return ended;
    },
    async assertEqual() {
      await assertEqualTree(database.url, elasticsearch, index);
      await sql.end();
    },
    async slotExists(): Promise<boolean> {
      return (await sql`SELECT FROM pg_replication_slots WHERE slot_name = ${slot}`).length > 0;
    },
  };
}

/** The code, the sentence and the remedy of the error that ended a run. */
export function assertRefused(
  { code, stderr }: Ended,
  expected: { code: string; exit: number; remedy: RegExp; says?: RegExp },
) {
  const [, name, sentence = "", remedy = ""] = /^error (\w+): (.*)\n(?: *(.*))?/m.exec(stderr) ?? [];
  assert.equal(name, expected.code, stderr);
  assert.equal(code, expected.exit, stderr);
  assert.match(remedy, expected.remedy, stderr);
  if (expected.says !== undefined) assert.match(sentence, expected.says);
}
