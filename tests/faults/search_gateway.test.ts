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
import { assertEqualTree, makeTree, startWriters, treeSchema } from "./tree.ts";

const ITEMS = 500;
/** Transactions that are committed while it lasts. */
const COMMITS = 40;

interface Failure {
  readonly fault: SearchFault;
  readonly which: "bulk" | "all";
  /** What `/ready` says. */
  readonly reason: RegExp;
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
  },
  "takes the first half of every bulk request and refuses the other": {
    fault: { kind: "half-refused" },
    which: "bulk",
    reason: /does not take documents.*HTTP 429, es_rejected_execution_exception/,
  },
  "takes the first half of every bulk request and is gone": {
    fault: { kind: "half-lost" },
    which: "bulk",
    reason: /does not take documents.*did not answer/,
  },
  "carries every bulk request out and loses the answer": {
    fault: { kind: "lost-answer" },
    which: "bulk",
    reason: /does not take documents.*did not answer/,
  },
  "carries every bulk request out and answers too late": {
    fault: { kind: "late-answer" },
    which: "bulk",
    reason: /does not take documents.*no answer within 1 s/,
  },
  "takes requests and never answers": {
    fault: { kind: "frozen" },
    which: "all",
    reason: /does not take documents.*no answer within 1 s/,
  },
};

describe("a search engine behind a gateway that", () => {
  let elasticsearch: SharedElasticsearch;
  let database: TestDatabase;
  let proxy: SearchProxy;
  let run: PgsyncProcess;
  let index: string;

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
  });
  after(async () => {
    await proxy.stop();
  });

  for (const [place, [what, { fault, which, reason }]] of Object.entries(FAILURES).entries()) {
    test(what, async () => {
      proxy.fail(fault, which);
      const writers = startWriters(database.url, seededRandom(100 + place), 2);
      try {
        await eventually(() => writers.commits > COMMITS && proxy.met > 3, {
          what: "transactions, and requests that fail",
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
      await assertEqualTree(database.url, elasticsearch, index);
      assert.deepEqual((await run.status()).databases[0]?.indices.map(({ deadLetters }) => deadLetters), [0]);
    });
  }

  test("fails: the log tells of it, and when it is over; SIGTERM ends the run in good order", async () => {
    proxy.fail({ kind: "status", status: 503 }, "all");
    // Nothing is written: the run finds it out by itself.
    await notReady(run, /cannot answer for now \(HTTP 503/);
    const since = performance.now();
    await eventually(() => performance.now() - since > 1_000, { what: "an outage that is worth a word" });
    proxy.mend();
    await run.logged(/INFO.*the search engine takes documents again, after \d+ s/);
    await run.ready();
    const { code, stderr } = await run.end("SIGTERM");
    assert.equal(code, 0);
    assert.match(stderr, /WARN.*did not answer.*Trying again/);
    assert.match(stderr, /WARN.*cannot write to .* for now \(HTTP 429.*Trying again/);
    assert.ok(stderr.split("\n").length < 40, "outages do not fill the log");
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
