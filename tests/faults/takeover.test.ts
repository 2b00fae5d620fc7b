/** A process waits for the slot of another one, with a checkpoint file of its own, and takes over when that one is gone. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { z } from "zod";
import { PROJECT } from "../../scripts/project.ts";
import { EXIT } from "../../src/errors/codes.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome, type PgsyncProcess } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";
import { startSearchProxy } from "../support/search_proxy.ts";
import { connect } from "./tree.ts";

/** Attempts to get the slot, so that it has had the time to do something else beside. */
const ATTEMPTS = 4;

/** An index of numbers, in 500 rows of text, and two places to run in. */
async function prepare() {
  const [postgres, elasticsearch] = await Promise.all([usePostgres(), useElasticsearch()]);
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("takeover");
  const sql = connect(database.url);
  await sql.unsafe(`
    CREATE TABLE item (id int PRIMARY KEY, n text);
    INSERT INTO item SELECT id, id::text FROM generate_series(1, 500) AS id`);
  const place = (searchUrl = elasticsearch.url) =>
    pgsyncHome({
      schema: [{
        database: database.name,
        index,
        nodes: { table: "item", transform: { mapping: { n: { type: "long" } } } },
      }],
      postgresUrl: database.url,
      searchUrl,
    });
  return { elasticsearch, index, sql, place, first: place(), second: place() };
}

async function stateOf(run: PgsyncProcess) {
  const [state] = (await run.status()).databases;
  return state ?? assert.fail("it follows a database");
}

/** Waits until it has asked for the slot again and again, and has done nothing else. */
async function waits(run: PgsyncProcess): Promise<void> {
  await run.logged(/in use by process \d+/);
  await eventually(async () => {
    const { stream, indices } = await stateOf(run);
    assert.ok(stream.reconnects >= ATTEMPTS);
    assert.deepEqual(indices, []);
  }, { what: "some attempts to get the slot" });
  assert.doesNotMatch(run.stderr(), /tables of index|following slot/);
}

test("what the one before refused, while the other waited, is in the list of the other", async () => {
  const { sql, index, elasticsearch, first, second } = await prepare();
  const one = await first.start(["--daemon", "--bootstrap"]);
  await one.ready();
  const other = await second.start(["--daemon"]);
  await waits(other);
  await sql`UPDATE item SET n = 'no number' WHERE id = 7`;
  const [row] = await sql<{ lsn: string }[]>`SELECT pg_logical_emit_message(true, 'test', '')::text AS lsn`;
  await eventually(async () => {
    const { indices, stream } = await stateOf(one);
    assert.equal(indices[0]?.deadLetters, 1);
    assert.ok(parseLsn(stream.confirmed) >= parseLsn(row?.lsn ?? ""));
  }, { what: "the document to be refused, and the position to be behind it" });
  await one.end("SIGKILL");
  await other.ready();
  await eventually(async () => assert.equal((await stateOf(other)).indices[0]?.deadLetters, 1), {
    what: "the document to be refused again",
  });
  await sql`UPDATE item SET n = '70' WHERE id = 7`;
  await eventually(async () => {
    assert.equal((await elasticsearch.get(index, "7"))?._source["n"], "70");
    assert.equal((await stateOf(other)).indices[0]?.deadLetters, 0);
  }, { what: "the document to be taken" });
  assert.equal((await other.end("SIGTERM")).code, 0);
  await sql.end();
});

test("it waits beside an initial load, loads only when it has the slot, and a stop ends the wait", async () => {
  const { sql, index, elasticsearch, first, second } = await prepare();
  // Refuses all: the load of the first waits, and holds the slot.
  await sql`UPDATE item SET n = 'no number ' || id`;
  const one = await first.start(["--daemon", "--bootstrap", "--max-dead-letters", "10"], {
    env: { PGSYNC_LOAD_CHUNK_ROWS: "100" },
  });
  await one.logged(/more than --max-dead-letters allows|dead letters/);
  const stopped = await second.start(["--daemon"]);
  await waits(stopped);
  assert.equal((await stopped.end("SIGTERM")).code, 0);
  const other = await second.start(["--daemon"]);
  await waits(other);
  await sql`UPDATE item SET n = id::text`;
  await one.end("SIGKILL");
  await other.ready();
  await elasticsearch.request("POST", `/${index}/_refresh`);
  assert.equal(await elasticsearch.count(index), 500);
  assert.equal((await other.end("SIGTERM")).code, 0);
  await sql.end();
});

/** What the index behind an alias says of its initial load. */
const metaSchema = z.record(
  z.string(),
  z.object({ mappings: z.object({ _meta: z.object({ pgsync: z.looseObject({ loaded: z.boolean() }) }) }) }),
);

test("a process that was replaced in its load does not say that the load is finished", async () => {
  const { sql, index, elasticsearch, first, place } = await prepare();
  await sql`UPDATE item SET n = 'no number' WHERE id = 7`;
  const frozen = await first.start(["--daemon", "--bootstrap"], {
    script: join(PROJECT, "tests/faults/program_with_fault.ts"),
    env: { TEST_MILESTONE: "before-bulk", TEST_TIMES: "1", TEST_SIGNAL: "SIGSTOP" },
  });
  await frozen.logged(/reached before-bulk/);
  const gateway = await startSearchProxy(elasticsearch.url);
  gateway.fail({ kind: "status", status: 503 }, "bulk");
  const second = place(gateway.url);
  const other = await second.start(["--daemon"]);
  const [, pid = ""] = await other.logged(/in use by process (\d+)/);
  await sql`SELECT pg_terminate_backend(${pid}::int)`;
  await other.logged(/following slot/);
  // Its load cannot go on, and its position moves.
  const [row] = await sql<{ lsn: string }[]>`SELECT pg_logical_emit_message(true, 'test', '')::text AS lsn`;
  await eventually(async () => {
    const { stream, indices } = await stateOf(other);
    assert.ok(parseLsn(stream.confirmed) >= parseLsn(row?.lsn ?? ""));
    assert.equal(indices[0]?.load.state, "running");
  }, { what: "the position of the other to move" });

  frozen.signal("SIGCONT");
  const { code, stderr } = await frozen.exit();
  assert.equal(code, EXIT.halted, stderr);
  assert.match(stderr, /then reached after-bulk[^]*^error CHECKPOINT_BEHIND/m);
  await other.end("SIGKILL");
  const { body } = await elasticsearch.request("GET", `/${index}/_mapping`);
  const [found] = Object.values(metaSchema.parse(body));
  assert.equal(found?.mappings._meta.pgsync.loaded, false);

  gateway.mend();
  const again = await second.start(["--daemon"]);
  await again.ready();
  assert.equal((await stateOf(again)).indices[0]?.deadLetters, 1, "what the first has refused");
  assert.equal(await elasticsearch.count(index), 499);
  assert.equal((await again.end("SIGTERM")).code, 0);
  await gateway.stop();
  await sql.end();
});
