/**
 * `kill -9` at each milestone (src/fault_points.ts), several times, while rows change: at the end every document is equal, none is missing and
 * none too many, and the load went on where it was. PGSYNC_TEST_SEED repeats the random choices, PGSYNC_TEST_KILLS sets how often.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { PROJECT } from "../../scripts/project.ts";
import type { WayMilestone } from "../../src/fault_points.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";
import { seededRandom } from "../support/random.ts";
import { assertGoesOn, loadProgress } from "./load_progress.ts";
import { assertEqualTree, makeTree, startWriters, treeSchema } from "./tree.ts";

const KILLS = Math.max(3, Math.ceil(Number(process.env["PGSYNC_TEST_KILLS"] ?? 0) / 5));
/** In chunks of 100, so that some are left after each kill. */
const ITEMS = 700 * KILLS;
const SEED = Number(process.env["PGSYNC_TEST_SEED"] ?? Date.now() % 1_000_000);

/** Each with the part of a run in which it is come to. */
const MILESTONES: Readonly<Record<WayMilestone, "load" | "stream" | "both">> = {
  "built": "both",
  "before-bulk": "both",
  "after-bulk": "both",
  "in-chunk": "load",
  "before-chunk-done": "load",
  "before-checkpoint": "stream",
  "before-confirm": "stream",
};

for (const [milestone, part] of Object.entries(MILESTONES)) {
  test(`killed at "${milestone}", again and again (PGSYNC_TEST_SEED=${SEED})`, async () => {
    const [postgres, elasticsearch] = await Promise.all([usePostgres(), useElasticsearch()]);
    const database = await postgres.createDatabase();
    const index = elasticsearch.indexName("crash");
    await makeTree(database.url, ITEMS);
    const home = pgsyncHome({
      schema: treeSchema(database.name, index),
      postgresUrl: database.url,
      searchUrl: elasticsearch.url,
    });
    const file = home.checkpointFile(`pgsync_${database.name}`);
    const random = seededRandom(SEED);
    // Chunks of several requests.
    const env = {
      PGSYNC_LOAD_CHUNK_ROWS: "100",
      ELASTICSEARCH_CHUNK_SIZE: "50",
      TEST_MILESTONE: milestone,
      TEST_SIGNAL: "SIGKILL",
    };
    const script = join(PROJECT, "tests/faults/program_with_fault.ts");
    /** @param chunks that are done before the milestone is counted */
    const killed = async (times: number, chunks = 0) => {
      const run = await home.start(["--daemon", "--bootstrap"], {
        env: { ...env, TEST_TIMES: String(times), TEST_CHUNKS: String(chunks) },
        script,
      });
      const { signal, stderr } = await run.exit();
      assert.equal(signal, "SIGKILL", stderr);
      assert.ok(stderr.endsWith(`reached ${milestone}`), stderr);
    };

    let kills = 0;
    const writers = startWriters(database.url, random, 2);
    try {
      let progress = loadProgress(file, index);
      for (; part !== "stream" && kills < KILLS / (part === "both" ? 2 : 1); kills++) {
        await killed(milestone === "before-chunk-done" ? 1 : 1 + random.below(3), 1);
        const now = loadProgress(file, index);
        assertGoesOn(progress, now);
        assert.ok(
          now.done.size > progress.done.size,
          "each run has loaded something that the next one need not load",
        );
        progress = now;
        assert.ok(!progress.finished, `the load was over after ${kills} kills`);
      }
      if (part !== "load") {
        const caughtUp = await home.run(["--bootstrap"], { env });
        assert.equal(caughtUp.code, 0, caughtUp.stderr);
        progress = loadProgress(file, index);
        for (; kills < KILLS; kills++) {
          await killed(1 + random.below(8));
          assertGoesOn(progress, loadProgress(file, index));
        }
      }
      const commits = writers.commits;
      await eventually(() => writers.commits > commits, { what: "a transaction after the last kill" });
    } finally {
      await writers.stop();
    }
    const last = await home.run([], { env });
    assert.equal(last.code, 0, last.stderr);
    assert.ok(loadProgress(file, index).finished);
    const documents = await assertEqualTree(database.url, elasticsearch, index);
    console.log(`${kills} kills, ${writers.commits} transactions, ${documents} documents equal`);
  });
}
