import assert from "node:assert/strict";
import { test } from "node:test";
import { logInterval, runSettings, schemaSource, switchedOn } from "../../src/cli/run_settings.ts";
import { RUN_DEFAULTS } from "../../src/sync/options.ts";
import { failsWithUsage } from "./fails.ts";

const USER = { PG_USER: "me" };

test("without further settings a run has its defaults", () => {
  const { options: { postgres: _p, search: _s, ...rest }, notes } = runSettings({}, USER);
  assert.deepEqual(rest, RUN_DEFAULTS);
  assert.deepEqual(notes, []);
});

test("variables set what a run keeps and uses; flags win", () => {
  const environment = {
    ...USER,
    PGSYNC_SLOT: "mine",
    CHECKPOINT_PATH: "/var/lib/pgsync",
    PGSYNC_BOOTSTRAP: "true",
    PGSYNC_ON_SLOT_LOSS: "halt",
    PGSYNC_STANDBY: "yes",
    NUM_WORKERS: "4",
    PGSYNC_LOAD_CHUNK_ROWS: "1000",
    ELASTICSEARCH_MAX_CHUNK_BYTES: "104857600",
    ELASTICSEARCH_CHUNK_SIZE: "100",
    ELASTICSEARCH_THREAD_COUNT: "8",
    PGSYNC_MAX_MEMORY_MB: "4",
    PGSYNC_CATALOG_INTERVAL: "0.5",
    PGSYNC_WAL_WARNING_BYTES: "0",
    PGSYNC_VIEW_REFRESH_INTERVAL: "60",
    PGSYNC_MAX_DEAD_LETTERS: "0",
  };
  const { options: { postgres: _p, search: _s, ...rest } } = runSettings({}, environment);
  assert.deepEqual(rest, {
    postgresReplica: null,
    slot: "mine",
    checkpointFolder: "/var/lib/pgsync",
    bootstrap: true,
    onSlotLoss: "halt",
    standby: true,
    loadWorkers: 4,
    loadChunkRows: 1_000,
    bulkBytes: 104_857_600,
    bulkDocuments: 100,
    bulkConcurrency: 8,
    maxMemoryBytes: 4 * 1024 ** 2,
    viewRefreshSeconds: 60,
    maxDeadLetters: 0,
    catalogIntervalMs: 500,
    walWarningBytes: 0,
  });
  const { options } = runSettings({ slot: "other", checkpoint: "/tmp", numWorkers: "1" }, environment);
  assert.deepEqual([options.slot, options.checkpointFolder, options.loadWorkers], ["other", "/tmp", 1]);
});

test("what is done where changes are lost", () => {
  assert.equal(runSettings({}, USER).options.onSlotLoss, null, "left to --bootstrap");
  assert.equal(runSettings({ onSlotLoss: "resync" }, USER).options.onSlotLoss, "resync");
  failsWithUsage(
    /^--on-slot-loss must be one of halt, resync, but is "go on"/,
    () => runSettings({ onSlotLoss: "go on" }, USER),
  );
});

test("a slot's name is PostgreSQL's to judge, so it is judged at once", () => {
  failsWithUsage(
    /^--slot must be 1 to 63 lower-case letters, digits or underscores, but is "My-Slot"/,
    () => runSettings({ slot: "My-Slot" }, USER),
  );
});

test("numbers out of range are named", () => {
  failsWithUsage(
    /^NUM_WORKERS must be a whole number from 1 to 64, but is "2.5"/,
    () => runSettings({}, { ...USER, NUM_WORKERS: "2.5" }),
  );
  failsWithUsage(/^--num-workers must/, () => runSettings({ numWorkers: "0" }, USER));
});

test("PGSync's flags that need nothing here are accepted with a sentence", () => {
  const { notes } = runSettings({ wal: true, producer: true, consumer: true }, USER);
  assert.equal(notes.length, 2);
  assert.match(notes[0] ?? "", /^--wal: not needed/);
  assert.match(notes[1] ?? "", /^--producer, --consumer: not needed/);
});

test("PGSync's variables that need nothing here are accepted, one sentence for each reason", () => {
  const { notes } = runSettings({}, {
    ...USER,
    REDIS_HOST: "redis",
    REDIS_PORT: "6379",
    OPENSEARCH: "true",
    QUERY_CHUNK_SIZE: "10000",
    SQLALCHEMY_POOL_SIZE: "5",
    POLLING: "false",
    PG_DRIVER: "psycopg3",
  });
  assert.deepEqual(notes.map((note) => note.split(":")[0]), [
    "REDIS_HOST, REDIS_PORT",
    "OPENSEARCH",
    "QUERY_CHUNK_SIZE",
    "SQLALCHEMY_POOL_SIZE",
  ]);
});

test("what this version cannot do is refused with what to do instead, never ignored", () => {
  failsWithUsage(/Polling/, () => runSettings({}, { ...USER, POLLING: "true" }));
  failsWithUsage(/MySQL/, () => runSettings({}, { ...USER, PG_DRIVER: "pymysql" }));
  failsWithUsage(/Redis.*REDIS_CHECKPOINT/, () => runSettings({}, { ...USER, REDIS_CHECKPOINT: "1" }));
  failsWithUsage(/AWS/, () => runSettings({}, { ...USER, ELASTICSEARCH_AWS_HOSTED: "true" }));
  failsWithUsage(/S3.*S3_SCHEMA_URL/, () => runSettings({}, { ...USER, S3_SCHEMA_URL: "s3://b/k" }));
  failsWithUsage(/Polling/, () => runSettings({ polling: true }, USER));
  failsWithUsage(/pgsync plan/, () => runSettings({ analyze: true }, USER));
  failsWithUsage(/S3/, () => schemaSource({ s3SchemaUrl: "s3://b/k" }, {}));
});

test("the schema file: a flag before a variable, one of each kind", () => {
  assert.equal(schemaSource({ config: "a.yaml" }, { SCHEMA: "b", SCHEMA_URL: "c" }), "a.yaml");
  assert.equal(schemaSource({ schemaUrl: "https://h/s" }, { SCHEMA: "b" }), "https://h/s");
  assert.equal(schemaSource({}, { SCHEMA: "b" }), "b");
  assert.equal(schemaSource({}, { SCHEMA_URL: "c" }), "c");
  failsWithUsage(/No schema file.*\n.*--config/s, () => schemaSource({}, { SCHEMA: "" }));
  failsWithUsage(/--config and --schema-url/, () => schemaSource({ config: "a", schemaUrl: "b" }, {}));
  failsWithUsage(/SCHEMA and SCHEMA_URL/, () => schemaSource({}, { SCHEMA: "a", SCHEMA_URL: "b" }));
});

test("switches and the pace of progress lines", () => {
  assert.equal(switchedOn({}, "PGSYNC_DAEMON", undefined), false);
  assert.equal(switchedOn({ PGSYNC_DAEMON: "yes" }, "PGSYNC_DAEMON", undefined), true);
  assert.equal(switchedOn({ PGSYNC_DAEMON: "0" }, "PGSYNC_DAEMON", true), true);
  failsWithUsage(
    /PGSYNC_DAEMON must be true or false/,
    () => switchedOn({ PGSYNC_DAEMON: "x" }, "PGSYNC_DAEMON", undefined),
  );
  assert.equal(logInterval({}), 10);
  assert.equal(logInterval({ LOG_INTERVAL: "0.5" }), 0.5);
  failsWithUsage(/LOG_INTERVAL must be a number of seconds/, () => logInterval({ LOG_INTERVAL: "0" }));
});
