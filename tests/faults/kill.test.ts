/**
 * `kill -9` at random moments of the load and of the stream, while rows change: at the end every document is equal, and
 * what was loaded before a crash was not loaded again. PGSYNC_TEST_SEED repeats the random choices of a run that failed,
 * PGSYNC_TEST_KILLS has it go on for longer.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";
import { assertGoesOn, loadProgress } from "./load_progress.ts";
import { assertEqualTree, makeTree, startWriters, treeSchema } from "./tree.ts";
import { seededRandom } from "../support/random.ts";

const ITEMS = 9_000;
const KILLS = Number(process.env["PGSYNC_TEST_KILLS"] ?? 14);
/** Kills that are kept for the stream, for the load may be over sooner. */
const STREAM_KILLS = Math.ceil(KILLS / 2);
const SEED = Number(process.env["PGSYNC_TEST_SEED"] ?? Date.now() % 1_000_000);

test(`killed at random moments, with writers at work (PGSYNC_TEST_SEED=${SEED})`, async () => {
  const postgres = await usePostgres();
  const elasticsearch = await useElasticsearch();
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("kill");
  await makeTree(database.url, ITEMS);
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: elasticsearch.url,
  });
  const random = seededRandom(SEED);
  const writers = startWriters(database.url, random, 2);
  // Small chunks and requests, so that there are many places at which a crash can happen.
  const env = { PGSYNC_LOAD_CHUNK_ROWS: "300", ELASTICSEARCH_CHUNK_SIZE: "100" };
  const start = () => home.start(["--daemon", "--bootstrap"], { env });
  const file = home.checkpointFile(`pgsync_${database.name}`);
  try {
    let progress = loadProgress(file, index);
    let loadKills = 0;
    while (loadKills < KILLS - STREAM_KILLS && !progress.finished) {
      const run = await start();
      const more = progress.done.size + random.below(5);
      await run.logged(/following slot/, 60_000);
      await eventually(async () => {
        const [database] = (await run.status()).databases;
        const load = database?.indices[0]?.load;
        // There may not be so many left. That the load is done takes longer: the stream has to come to its end first.
        assert.ok(
          load !== undefined && load.chunks > 0 && load.chunksDone >= Math.min(more, load.chunks),
          "not yet",
        );
      }, { what: `${more} chunks to be done` });
      await delay(random.below(100));
      await run.end("SIGKILL");
      const now = loadProgress(file, index);
      assertGoesOn(progress, now);
      progress = now;
      loadKills++;
    }
    assert.ok(progress.planned > 10, `the load has only ${progress.planned} chunks`);
    assert.ok(loadKills >= 3, `the load was over after ${loadKills} kills`);
    for (let kill = loadKills; kill < KILLS; kill++) {
      const run = await start();
      await run.logged(/following slot/, 60_000);
      await delay(random.below(1_200));
      await run.end("SIGKILL");
    }
  } finally {
    await writers.stop();
  }
  const last = await home.run([], { env });
  assert.equal(last.code, 0, last.stderr);
  assert.ok(loadProgress(file, index).finished);
  const documents = await assertEqualTree(database.url, elasticsearch, index);
  console.log(`${KILLS} kills, ${writers.commits} transactions, ${documents} documents equal`);
});
