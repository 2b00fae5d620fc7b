/** A search engine behind a gateway that fails: while it does, the run lives and says why; then it catches up by itself. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type SharedElasticsearch, useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { pgsyncHome, type PgsyncProcess } from "../support/pgsync_process.ts";
import { type TestDatabase, usePostgres } from "../support/postgres.ts";
import { seededRandom } from "../support/random.ts";
import { type SearchFault, type SearchProxy, startSearchProxy } from "../support/search_proxy.ts";
import { notReady, settled } from "./settled.ts";
import { assertEqualTree, connect, makeTree, startWriters, treeSchema } from "./tree.ts";

const ITEMS = 500;
/** Transactions that are committed while it lasts. */
const COMMITS = 40;

interface Failure {
  readonly fault: SearchFault;
  readonly which: "bulk" | "all";
  /** What `/ready` says. */
  readonly reason: RegExp;
  /** The engine carries requests out, or a part of each. */
  readonly reachesEngine?: true;
}

const FAILURES: Readonly<Record<string, Failure>> = {
  "answers 429 to every bulk request": {
    fault: { kind: "status", status: 429 },
    which: "bulk",
    reason: /does not take documents.*cannot write to .* for now \(HTTP 429, es_rejected_execution_exception/,
  },
  "answers 502": {
    fault: { kind: "status", status: 502 },
    which: "all",
    reason: /does not take documents.*for now \(HTTP 502/,
  },
  "answers 503": {
    fault: { kind: "status", status: 503 },
    which: "all",
    reason: /does not take documents.*for now \(HTTP 503/,
  },
  "cuts the connection in the middle of every answer": {
    fault: { kind: "cut-answer" },
    which: "all",
    reason: /does not take documents.*did not answer: the connection was lost in the middle of the answer/,
    reachesEngine: true,
  },
  "takes the first half of every bulk request and refuses the other": {
    fault: { kind: "half-refused" },
    which: "bulk",
    reason: /does not take documents.*HTTP 429, es_rejected_execution_exception/,
    reachesEngine: true,
  },
  "takes the first half of every bulk request and is gone": {
    fault: { kind: "half-lost" },
    which: "bulk",
    reason: /does not take documents.*did not answer/,
    reachesEngine: true,
  },
  "carries every bulk request out and loses the answer": {
    fault: { kind: "lost-answer" },
    which: "bulk",
    reason: /does not take documents.*did not answer/,
    reachesEngine: true,
  },
  "carries every bulk request out and answers too late": {
    fault: { kind: "late-answer" },
    which: "bulk",
    reason: /does not take documents.*no answer within 1 s/,
    reachesEngine: true,
  },
  "carries every other bulk request out long after its client has gone": {
    fault: { kind: "late-request" },
    which: "bulk",
    reason: /does not take documents.*no answer within 1 s/,
    reachesEngine: true,
  },
  "takes requests and never answers": {
    fault: { kind: "frozen" },
    which: "all",
    reason: /does not take documents.*no answer within 1 s/,
  },
};

/**
 * Changes many documents by each row: a transaction arrives in pieces, and where the first two are a row each, the two batches under way are, too.
 */
async function changeMany(url: string): Promise<void> {
  const sql = connect(url);
  await sql`UPDATE family SET name = name || '.'`;
  await sql.end();
}

describe("a search engine behind a gateway that", () => {
  let elasticsearch: SharedElasticsearch;
  let database: TestDatabase;
  let proxy: SearchProxy;
  let run: PgsyncProcess;
  let index: string;
  let startedAt: number;

  before(async () => {
    const postgres = await usePostgres();
    elasticsearch = await useElasticsearch();
    database = await postgres.createDatabase();
    index = elasticsearch.indexName("gateway");
    await makeTree(database.url, ITEMS);
    proxy = await startSearchProxy(elasticsearch.url);
    const home = pgsyncHome({
      schema: treeSchema(database.name, index),
      postgresUrl: database.url,
      searchUrl: proxy.url,
    });
    // Requests of few documents, so that many are under way.
    run = await home.start(["--daemon", "--bootstrap"], {
      env: { ELASTICSEARCH_TIMEOUT: "1", ELASTICSEARCH_CHUNK_SIZE: "50" },
    });
    await run.ready();
    startedAt = performance.now();
  });
  after(async () => {
    await proxy.stop();
  });

  for (const [place, [what, { fault, which, reason, reachesEngine }]] of Object.entries(FAILURES).entries()) {
    test(what, async () => {
      proxy.fail(fault, which);
      // Of a request of one document no half can be taken, and a few of them would be all that is under way.
      await changeMany(database.url);
      const writers = startWriters(database.url, seededRandom(100 + place), 2);
      try {
        const reached = () => proxy.carriedOut > 0 === (reachesEngine === true);
        await eventually(() => writers.commits > COMMITS && proxy.met > 3 && reached(), {
          what: "transactions, and requests that fail",
          explain: () => `${writers.commits} commits, ${proxy.met} met, ${proxy.carriedOut} carried out`,
        });
        await notReady(run, reason);
        const { databases: [state] } = await run.status();
        assert.equal(state?.phase, "streaming");
        assert.match(state.faults.at(-1)?.code ?? "", /^SEARCH_(UNREACHABLE|UNAVAILABLE)$/);
        proxy.mend();
      } finally {
        await writers.stop();
      }
      await settled(run, database.url);
      await eventually(() => proxy.keptBack === 0, { what: "the last late request" });
      await assertEqualTree(database.url, elasticsearch, index);
      assert.deepEqual((await run.status()).databases[0]?.indices.map(({ deadLetters }) => deadLetters), [0]);
    });
  }

  test("fails in all these ways does not fill the log; SIGTERM ends the run in good order", async () => {
    const minutes = Math.ceil((performance.now() - startedAt) / 60_000);
    const { code, stderr } = await run.end("SIGTERM");
    assert.equal(code, 0);
    for (const kind of [/WARN.*did not answer.*Trying again/, /WARN.*cannot .* for now .*Trying again/]) {
      const lines = stderr.split("\n").filter((line) => kind.test(line));
      // Once a minute for each kind of failure.
      assert.ok(
        lines.length >= 1 && lines.length <= minutes + 1,
        `${lines.length} lines in ${minutes} minutes`,
      );
    }
    const ends = stderr.split("\n").filter((line) => /takes documents again/.test(line));
    assert.ok(ends.length <= minutes + 1, `${ends.length} ends of outages in ${minutes} minutes`);
  });
});

describe("a run behind a gateway", () => {
  /** A run that follows an idle tree. */
  async function start(args: readonly string[] = ["--daemon", "--bootstrap"]) {
    const postgres = await usePostgres();
    const elasticsearch = await useElasticsearch();
    const database = await postgres.createDatabase();
    const index = elasticsearch.indexName("gateway-idle");
    await makeTree(database.url, ITEMS);
    const proxy = await startSearchProxy(elasticsearch.url);
    const home = pgsyncHome({
      schema: treeSchema(database.name, index),
      postgresUrl: database.url,
      searchUrl: proxy.url,
    });
    return { home, proxy, database, elasticsearch, index, start: () => home.start(args) };
  }

  test("tells in the log that it fails while nothing is written, and when that is over", async () => {
    const { proxy, start: begin } = await start();
    const run = await begin();
    await run.ready();
    proxy.fail({ kind: "status", status: 503 }, "all");
    await notReady(run, /cannot answer for now \(HTTP 503/);
    const since = performance.now();
    await eventually(() => performance.now() - since > 1_000, { what: "an outage that is worth a word" });
    proxy.mend();
    await run.logged(/INFO.*the search engine takes documents again, after \d+ s/);
    await run.ready();
    assert.match(run.stderr(), /WARN.*cannot answer for now \(HTTP 503.*Trying again/);
    assert.equal((await run.end("SIGTERM")).code, 0);
    await proxy.stop();
  });

  test("waits for an engine that answers, but has not found its indices yet, before it makes anything", async () => {
    const { home, proxy, database, elasticsearch, index, start: begin } = await start();
    // Its version is told at once.
    const indices = /^\/(?!$|\?|_nodes)/;
    proxy.fail({ kind: "status", status: 503 }, indices);
    const run = await begin();
    await notReady(run, /does not take documents.*for now \(HTTP 503/);
    await eventually(() => proxy.met > 3, { what: "more attempts" });
    proxy.mend();
    await settled(run, database.url);
    await assertEqualTree(database.url, elasticsearch, index);
    assert.equal((await run.end("SIGTERM")).code, 0);

    // What is there is found again, without --bootstrap.
    proxy.fail({ kind: "status", status: 503 }, indices);
    const once = await home.run([]);
    assert.equal(once.code, 3, "nobody waits for it who is waited for");
    assert.match(once.stderr, /^error SEARCH_UNAVAILABLE/m);
    const again = await home.start(["--daemon"]);
    await notReady(again, /does not take documents.*for now \(HTTP 503/);
    proxy.mend();
    await settled(again, database.url);
    await assertEqualTree(database.url, elasticsearch, index);
    assert.equal((await again.end("SIGTERM")).code, 0);
    await proxy.stop();
  });

  test("is not ready while only comparisons find no answer, and is when they do", async () => {
    const { proxy, database, elasticsearch, index, start: begin } = await start();
    const run = await begin();
    await run.ready();
    proxy.fail({ kind: "status", status: 503 }, /_mget|_search/);
    const sql = connect(database.url);
    // All documents are compared, and nothing is written.
    await sql`ALTER TABLE item ALTER COLUMN amount TYPE bigint`;
    await notReady(run, /does not take documents.*for now \(HTTP 503/);
    proxy.mend();
    await settled(run, database.url);
    await assertEqualTree(database.url, elasticsearch, index);
    assert.equal((await run.end("SIGTERM")).code, 0);
    await sql.end();
    await proxy.stop();
  });
});

test("the initial load goes on through a gateway that fails", async () => {
  const postgres = await usePostgres();
  const elasticsearch = await useElasticsearch();
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("gateway-load");
  await makeTree(database.url, ITEMS);
  const proxy = await startSearchProxy(elasticsearch.url);
  const home = pgsyncHome({
    schema: treeSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: proxy.url,
  });
  proxy.fail({ kind: "half-lost" }, "bulk");
  const run = await home.start(["--daemon", "--bootstrap"], {
    env: { ELASTICSEARCH_TIMEOUT: "1", ELASTICSEARCH_CHUNK_SIZE: "20", PGSYNC_LOAD_CHUNK_ROWS: "100" },
  });
  const writers = startWriters(database.url, seededRandom(99), 1);
  try {
    for (const { fault, reason } of Object.values(FAILURES)) {
      // The waits between attempts grow, so these few.
      if (!["half-lost", "lost-answer", "late-answer"].includes(fault.kind)) continue;
      // Only bulk requests, so that all of them are the load's and the stream's.
      proxy.fail(fault, "bulk");
      await eventually(() => proxy.met > 3, { what: `requests that meet ${JSON.stringify(fault)}` });
      await notReady(run, /is being loaded/);
      await notReady(run, reason);
    }
    proxy.mend();
  } finally {
    await writers.stop();
  }
  await settled(run, database.url);
  await assertEqualTree(database.url, elasticsearch, index);
  assert.equal((await run.end("SIGTERM")).code, 0);
  await proxy.stop();
});
