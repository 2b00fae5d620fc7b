/**
 * `kill -9` at random moments of the load and of the stream, while rows change: at the end every document is equal, and
 * what was loaded before a crash was not loaded again. PGSYNC_TEST_SEED repeats the random choices of a run that failed,
 * PGSYNC_TEST_KILLS has it go on for longer.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { type PgsyncHome, pgsyncHome } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";
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
  const slot = `pgsync_${database.name}`;
  try {
    let progress = loadProgress(home, slot, index);
    let loadKills = 0;
    while (loadKills < KILLS - STREAM_KILLS && !progress.finished) {
      const run = await start();
      const more = progress.done.size + random.below(5);
      await run.logged(/following slot/);
      await eventually(async () => {
        const [database] = (await run.status()).databases;
        const load = database?.indices[0]?.load;
        assert.ok(load !== undefined && (load.state === "done" || load.chunksDone >= more), "not yet");
      }, { what: `${more} chunks to be done` });
      await delay(random.below(100));
      await run.end("SIGKILL");
      const now = loadProgress(home, slot, index);
      if (progress.planned > 0) {
        assert.equal(now.planned, progress.planned, "the plan of the load is kept");
        assert.deepEqual([...progress.done].filter((chunk) => !now.done.has(chunk)), [], "chunks stay done");
      }
      progress = now;
      loadKills++;
    }
    assert.ok(progress.planned > 10, `the load has only ${progress.planned} chunks`);
    assert.ok(loadKills >= 3, `the load was over after ${loadKills} kills`);
    for (let kill = loadKills; kill < KILLS; kill++) {
      const run = await start();
      await run.logged(/following slot/);
      await delay(random.below(1_200));
      await run.end("SIGKILL");
    }
  } finally {
    await writers.stop();
  }
  const last = await home.run([], { env });
  assert.equal(last.code, 0, last.stderr);
  assert.ok(loadProgress(home, slot, index).finished);
  const documents = await assertEqualTree(database.url, elasticsearch, index);
  console.log(`${KILLS} kills, ${writers.commits} transactions, ${documents} documents equal`);
});

/** What the checkpoint file says of the load; nothing where there is no file yet. */
function loadProgress(home: PgsyncHome, slot: string, index: string) {
  using checkpoint = Checkpoint.open(home.checkpointFile(slot));
  const load = checkpoint.load(index);
  const chunks = load?.chunks ?? [];
  return {
    finished: load?.finished === true,
    planned: chunks.length,
    done: new Set(chunks.filter((chunk) => chunk.done).map((chunk) => chunk.number)),
  };
}
