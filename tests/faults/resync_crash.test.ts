/**
 * `kill -9` between a loss and the load that mends it (src/fault_points.ts): the next start finds the loss again, and halts by it or mends it, as it
 * is told; at the end every document is equal.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { PROJECT } from "../../scripts/project.ts";
import type { ErrorCode } from "../../src/errors/codes.ts";
import type { ResyncMilestone } from "../../src/fault_points.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";
import { assertEqualTree, connect, makeTree, treeSchema } from "./tree.ts";

/** Each with what a start finds that may not load anew; null: there is a slot again, and it goes on. */
const MILESTONES: Readonly<Record<ResyncMilestone, ErrorCode | null>> = {
  "loss-noted": "PUBLICATION_MISSING",
  "slot-dropped": "PUBLICATION_MISSING",
  "indices-unloaded": "SLOT_MISSING",
  "file-emptied": "SLOT_MISSING",
  "slot-made": null,
};

for (const [milestone, code] of Object.entries(MILESTONES)) {
  test(`killed at "${milestone}"`, async () => {
    const [postgres, elasticsearch] = await Promise.all([usePostgres(), useElasticsearch()]);
    const database = await postgres.createDatabase();
    const index = elasticsearch.indexName("resync");
    await makeTree(database.url, 300);
    const home = pgsyncHome({
      schema: treeSchema(database.name, index),
      postgresUrl: database.url,
      searchUrl: elasticsearch.url,
    });
    const loaded = await home.run(["--bootstrap"]);
    assert.equal(loaded.code, 0, loaded.stderr);
    const sql = connect(database.url);
    await sql.unsafe(`DROP PUBLICATION "pgsync_${database.name}"`);
    // Nobody will ever tell of these.
    await sql`DELETE FROM item WHERE id <= 20`;
    await sql`UPDATE owner SET name = 'another'`;
    await sql.end();

    const run = await home.start(["--on-slot-loss", "resync"], {
      env: { TEST_MILESTONE: milestone, TEST_TIMES: "1", TEST_SIGNAL: "SIGKILL" },
      script: join(PROJECT, "tests/faults/program_with_fault.ts"),
    });
    const killed = await run.exit();
    assert.equal(killed.signal, "SIGKILL", killed.stderr);
    assert.ok(killed.stderr.endsWith(`reached ${milestone}`), killed.stderr);

    const halting = await home.run(["--on-slot-loss", "halt"]);
    if (code === null) assert.equal(halting.code, 0, halting.stderr);
    else {
      assert.notEqual(halting.code, 0);
      assert.match(halting.stderr, new RegExp(`error ${code}`));
      const mending = await home.run(["--on-slot-loss", "resync"]);
      assert.equal(mending.code, 0, mending.stderr);
    }
    await assertEqualTree(database.url, elasticsearch, index);
  });
}
