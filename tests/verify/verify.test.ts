/** `verify` beside a sync and without one: what counts as a difference, and how it is mended. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { randomBytes } from "node:crypto";
import postgres from "postgres";
import { PgsyncError } from "../../src/errors/error.ts";
import {
  type IndexVerification,
  VERIFY_DEFAULTS,
  type VerifyOptions,
} from "../../src/verify/verification.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { verify } from "../../src/sync/verify_run.ts";
import { Bench } from "../integration/support.ts";
import { indexedDocuments } from "../oracle/compare.ts";
import { client, useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { BOOKS, BOOKS_DDL, Vandal } from "./damage.ts";

const LIMIT_MS = 60_000;

async function verified(
  bench: Bench,
  changes: Partial<VerifyOptions> = {},
  onProgress: Parameters<typeof verify>[3] = () => {},
): Promise<IndexVerification> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  const options = { ...VERIFY_DEFAULTS, ...changes };
  const found: IndexVerification[] = [];
  for await (const index of verify(bench.options, options, signal, onProgress)) found.push(index);
  const [only, ...others] = found;
  assert.ok(only !== undefined && others.length === 0);
  return only;
}

const brief = ({ differences }: IndexVerification) =>
  differences
    .map(({ id, kind, changes, repaired }) =>
      [id, kind, ...changes.map(({ path }) => path), ...repaired ? ["repaired"] : []].join(" ")
    )
    .toSorted();

const counts = ({ missing, extra, different, refused, unsettled, repaired }: IndexVerification) => ({
  missing,
  extra,
  different,
  refused,
  unsettled,
  repaired,
});

const NOTHING = { missing: 0, extra: 0, different: 0, refused: 0, unsettled: 0, repaired: 0 };

async function fails(work: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(work, (error) => error instanceof PgsyncError && error.code === code);
}

async function damage(bench: Bench): Promise<string[]> {
  const vandal = new Vandal(bench);
  await vandal.remove("201");
  await vandal.put("no number", "{}");
  await vandal.put("0207", await vandal.source("207"));
  await vandal.put("301", "{}");
  await vandal.change("202", /"rating 501"/, '"rating 5O1"');
  await vandal.change("203", "9007199254741795", "9007199254741796");
  return [
    "0207 extra",
    "201 missing",
    "202 different $.rating[1].text",
    "203 different $.rating[2].value",
    "301 extra",
    "no number extra",
  ];
}

describe("verify, where no sync runs", () => {
  it("finds what differs, and mends it", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    await bench.runOnce();
    const equal = await verified(bench);
    assert.deepEqual(counts(equal), NOTHING);
    assert.deepEqual([equal.compared, equal.listed, equal.judged], [300, 300, "present"]);
    const damaged = await damage(bench);
    const found = await verified(bench);
    assert.deepEqual(brief(found), damaged);
    assert.deepEqual(counts(found), { ...NOTHING, missing: 1, extra: 3, different: 2 });
    const mended = await verified(bench, { repair: true });
    assert.deepEqual(brief(mended), damaged.map((line) => `${line} repaired`));
    assert.deepEqual(counts(mended), { ...NOTHING, missing: 1, extra: 3, different: 2, repaired: 6 });
    assert.deepEqual(counts(await verified(bench)), NOTHING);
    await bench.assertEqual("after the repair");
    // What was written so must not stand in the way of the stream.
    await bench.write(
      "UPDATE book SET title = 'new' WHERE id IN (201, 202)",
      "DELETE FROM book WHERE id = 300",
    );
    await bench.runOnce();
    await bench.assertEqual("after changes of what was repaired");
  });

  it("counts changes that were not carried out yet", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    await bench.runOnce();
    await bench.write("UPDATE book SET title = 'new' WHERE id = 5");
    assert.deepEqual(brief(await verified(bench)), ["5 different $.title"]);
  });

  it("tells refused documents apart, with the reason", async () => {
    const bad = `'{"a": 1e200000}'`;
    await using bench = await Bench.open(
      17,
      `CREATE TABLE book (id text PRIMARY KEY, day text, note json);
       INSERT INTO book VALUES ('a', '2026-01-01', '{}'), ('b', 'no day', '{}'), (repeat('c', 600), NULL, '{}'),
         ('d', NULL, ${bad}), ('e', NULL, '{}');`,
      "table: book\ntransform:\n  mapping:\n    day: { type: date }",
    );
    await bench.runOnce();
    assert.equal(bench.deadLetters().length, 3);
    await new Vandal(bench).remove("e");
    const found = await verified(bench);
    assert.deepEqual(counts(found), { ...NOTHING, missing: 1, refused: 3 });
    assert.ok(found.differences.every(({ kind, reason }) => (kind === "refused") === (reason !== null)));
    // The list is not asked for while a sync runs: the engine tells it anew.
    bench.start();
    await bench.settled();
    const beside = await verified(bench);
    assert.deepEqual(counts(beside), { ...NOTHING, missing: 2, refused: 2 });
    assert.equal(beside.refusedKnown, false);
    const mended = await verified(bench, { repair: true });
    assert.deepEqual(counts(mended), { ...NOTHING, missing: 1, refused: 3, repaired: 1 });
  });

  it("compares only existence where documents go through a pipeline", async () => {
    const search = await useElasticsearch();
    const pipeline = `verify-${randomBytes(5).toString("hex")}`;
    await search.request("PUT", `/_ingest/pipeline/${pipeline}`, { processors: [] });
    await using _cleanUp = {
      [Symbol.asyncDispose]: async () => void await search.request("DELETE", `/_ingest/pipeline/${pipeline}`),
    };
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    const [document] = bench.schema.documents;
    assert.ok(document !== undefined);
    const schema = { ...bench.schema, documents: [{ ...document, pipeline }] };
    Object.assign(bench.options, { schema });
    Object.assign(bench, { schema });
    await bench.runOnce();
    const vandal = new Vandal(bench);
    await vandal.remove("1");
    await vandal.change("2", '"book 2"', '"x"');
    const found = await verified(bench);
    assert.equal(found.contents, false);
    assert.deepEqual(brief(found), ["1 missing"]);
    assert.deepEqual(brief(await verified(bench, { repair: true })), ["1 missing repaired"]);
  });

  it("goes on where the search engine was away for a moment", async () => {
    const search = await useElasticsearch();
    const proxy = await startTcpProxy(search.url);
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS, { loadChunkRows: 20, loadWorkers: 1 });
    try {
      await bench.runOnce();
      await damage(bench);
      Object.assign(bench.options, { search: { ...bench.options.search, urls: [proxy.url] } });
      let cuts = 0;
      const cut = async (compared: number, listed: number) => {
        if (cuts > 1 || (cuts === 0 && compared < 100) || (cuts === 1 && listed === 0)) return;
        cuts++;
        await proxy.shut();
        await proxy.open();
      };
      const found = await verified(bench, {}, ({ compared, listed }) => void cut(compared, listed));
      assert.equal(cuts, 2);
      assert.deepEqual(counts(found), { ...NOTHING, missing: 1, extra: 3, different: 2 });
      assert.equal(found.compared, 300);
    } finally {
      await proxy.stop();
    }
  });

  it("goes on where PostgreSQL was away for a moment", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS, { loadChunkRows: 20, loadWorkers: 1 });
    const proxy = await startTcpProxy(bench.database.url);
    try {
      await bench.runOnce();
      await damage(bench);
      const { hostname: host, port } = new URL(proxy.url);
      Object.assign(bench.options, { postgres: { ...bench.options.postgres, host, port: Number(port) } });
      let cuts = 0;
      const cut = (compared: number, listed: number) => {
        if (cuts > 1 || (cuts === 0 && compared < 100) || (cuts === 1 && listed === 0)) return;
        cuts++;
        proxy.cut();
      };
      const found = await verified(bench, { repair: true }, ({ compared, listed }) => cut(compared, listed));
      assert.equal(cuts, 2);
      assert.deepEqual(counts(found), { ...NOTHING, missing: 1, extra: 3, different: 2, repaired: 6 });
      assert.equal(found.compared, 300);
    } finally {
      await proxy.stop();
    }
  });

  it("refuses an index that cannot be compared", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    await fails(verified(bench), "INDEX_MISSING");
    await bench.runOnce();
    await fails(verified(bench, { indices: ["other"] }), "USAGE");
    const [document] = bench.schema.documents;
    assert.ok(document !== undefined);
    const search = client(bench.searchUrl);
    const meta = async (change: (pgsync: Record<string, unknown>) => void) => {
      const { body } = await search.request("GET", `/${document.index}/_mapping`);
      const _meta = JSON.parse(JSON.stringify(Object.values(body as object)[0].mappings._meta));
      change(_meta.pgsync);
      await search.request("PUT", `/${document.index}/_mapping`, { _meta });
    };
    await meta((pgsync) => (pgsync["loaded"] = false));
    await fails(verified(bench), "INDEX_NOT_LOADED");
    await meta((pgsync) => {
      pgsync["schema_hash"] = "another";
      delete pgsync["description"];
    });
    await fails(verified(bench), "INDEX_CHANGED");
  });
});

describe("verify, beside a sync", () => {
  it("finds what differs, and mends it", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    bench.start();
    await bench.settled();
    const damaged = await damage(bench);
    const found = await verified(bench);
    assert.equal(found.judged, "stream");
    assert.deepEqual(brief(found), damaged);
    const mended = await verified(bench, { repair: true });
    assert.deepEqual(brief(mended), damaged.map((line) => `${line} repaired`));
    await bench.write(
      "UPDATE book SET title = 'new' WHERE id IN (201, 202)",
      "DELETE FROM book WHERE id = 203",
    );
    await bench.assertSettled("after changes of what was repaired");
    assert.deepEqual(counts(await verified(bench)), NOTHING);
  });

  it("counts nothing that is on its way, and misses nothing", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS, { loadChunkRows: 100 });
    bench.start();
    await bench.settled();
    const writers = startWriters(bench.database.url, 4);
    try {
      for (let round = 0; round < 4; round++) {
        const { unsettled: _, ...found } = counts(await verified(bench));
        assert.deepEqual({ ...found, unsettled: 0 }, NOTHING, `round ${round}`);
      }
      const damaged = await damage(bench);
      const beside = await verified(bench);
      assert.deepEqual(brief(beside).filter((line) => !line.endsWith("unsettled")), damaged);
      // Documents that the writers are at, damaged again and again: the stream or the repair mends them.
      const vandal = new Vandal(bench);
      const hot = Array.from({ length: 20 }, (_, at) => String(101 + at));
      await Promise.all(hot.map((id) => vandal.put(id, '{"broken":true}')));
      await verified(bench, { repair: true });
    } finally {
      await writers.stop();
    }
    assert.ok(writers.written() > 200, `the writers wrote ${writers.written()} times`);
    await bench.settled();
    assert.deepEqual(counts(await verified(bench)), NOTHING);
    await bench.assertEqual("after all");
  });

  it("gives a sync up that does not move", async () => {
    const search = await useElasticsearch();
    const proxy = await startTcpProxy(search.url);
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS, {});
    try {
      await bench.runOnce();
      await new Vandal(bench).remove("1");
      bench.start({ search: { ...bench.options.search, urls: [proxy.url] } });
      await bench.settled();
      proxy.swallowAnswers(true);
      await bench.write("UPDATE book SET title = 'new' WHERE id = 2");
      await fails(verified(bench, { waitSeconds: 2 }), "STREAM_STALLED");
    } finally {
      proxy.swallowAnswers(false);
      await bench.stop();
      await proxy.stop();
    }
  });

  it("judges by the stream again when the sync comes back", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    bench.start();
    await bench.settled();
    await new Vandal(bench).remove("1");
    let restarted: Promise<void> | null = null;
    const found = await verified(bench, {}, ({ phase }) => {
      if (phase !== "waiting" || restarted !== null) return;
      restarted = (async () => {
        await bench.stop();
        await bench.write("UPDATE book SET title = 'new' WHERE id = 2");
        bench.start();
        await eventually(() => bench.synchronizer.status().ready, { what: "the sync to be back" });
      })();
    });
    assert.ok(restarted !== null);
    await restarted;
    assert.deepEqual(brief(found), ["1 missing"]);
  });
});

interface Writers {
  written(): number;
  stop(): Promise<void>;
}

/** Sessions that insert, change, delete and bring back books and ratings up to number 200, as fast as they can. */
function startWriters(url: string, sessions: number): Writers {
  let stopped = false;
  let written = 0;
  const sql = postgres(url, { max: sessions, onnotice: () => {} });
  const below = (limit: number) => Math.floor(Math.random() * limit);
  const work = async () => {
    while (!stopped) {
      const id = 1 + below(200);
      const kind = below(10);
      if (kind < 3) await sql`UPDATE rating SET text = ${`r${written}`} WHERE book_id = ${id}`;
      else if (kind < 6) {
        await sql`UPDATE book SET title = ${`t${written}`}, price = price + 0.01 WHERE id = ${id}`;
      } // A key that goes and comes, some of them very often.
      else if (kind < 8) {
        const key = 1000 + below(4);
        await sql`INSERT INTO book (id, title) VALUES (${key}, 'x') ON CONFLICT DO NOTHING`;
        await sql`DELETE FROM book WHERE id = ${key}`;
      } else {
        await sql.begin(async (transaction) => {
          await transaction`UPDATE rating SET book_id = ${1 + below(200)} WHERE id = ${
            below(600)
          } AND book_id <= 200`;
          await transaction`UPDATE book SET title = 'both' WHERE id IN (${id}, ${1 + below(200)})`.catch(
            () => {},
          );
        }).catch((error: unknown) => {
          // Two that lock rows in another order.
          if (!(error instanceof postgres.PostgresError && error.code === "40P01")) throw error;
        });
      }
      written++;
    }
  };
  const done = Promise.all(Array.from({ length: sessions }, work));
  done.catch(() => {});
  return {
    written: () => written,
    async stop() {
      stopped = true;
      await done;
      await sql.end();
    },
  };
}

describe("verify, while the index is loaded", () => {
  it("says so, touches nothing, and judges from the moment when all is loaded", async () => {
    const search = await useElasticsearch();
    const proxy = await startTcpProxy(search.url);
    const more = "INSERT INTO book SELECT n, 'more' FROM generate_series(301, 5000) AS n";
    await using bench = await Bench.open(17, BOOKS_DDL + more, BOOKS, {
      search: { ...SEARCH_DEFAULTS, urls: [proxy.url] },
      loadChunkRows: 20,
      loadWorkers: 1,
    });
    const direct = { ...bench.options, search: { ...SEARCH_DEFAULTS, urls: [search.url] } };
    const attempt = async (changes: Partial<VerifyOptions> = {}) => {
      const options = { ...VERIFY_DEFAULTS, ...changes };
      const found: IndexVerification[] = [];
      for await (const index of verify(direct, options, AbortSignal.timeout(LIMIT_MS))) found.push(index);
      return found;
    };
    const load = () => bench.synchronizer.status().databases[0]?.indices[0]?.load;
    bench.start();
    await eventually(() => (load()?.chunksDone ?? 0) > 2, { what: "the load", interval: 2 });
    proxy.delayAnswers(true);
    for (const changes of [{}, { repair: true }, { sample: 10 }] as const) {
      await fails(attempt(changes), "INDEX_NOT_LOADED");
    }
    assert.equal(load()?.state, "running", "it was not disturbed");
    const held = await indexedDocuments(search.url, bench.schema.documents[0]?.index ?? "");
    assert.ok(held.size < 5000, "nothing was repaired");
    // From the moment when the index says that it is loaded, changes made meanwhile may be on their way.
    let writing = true;
    const writer = (async () => {
      for (let round = 0; writing && round < 200; round++) {
        await bench.write(
          `UPDATE book SET title = 'round ${round}' WHERE id % 100 = ${round % 100}`,
          `DELETE FROM rating WHERE id = ${round}`,
          `INSERT INTO book VALUES (${100_000 + round}, 'new')`,
        );
      }
    })();
    proxy.delayAnswers(false);
    const found = await eventually(() => attempt(), {
      what: "all to be loaded",
      interval: 1,
      timeout: LIMIT_MS,
    });
    writing = false;
    await writer;
    // What changed again each time when it was looked at is unsettled.
    assert.deepEqual(found.map((index) => ({ ...counts(index), unsettled: 0 })), [NOTHING]);
    await bench.assertSettled("after all");
    assert.deepEqual((await attempt()).map(counts), [NOTHING]);
    await proxy.stop();
  });
});

describe("verify, while a table is altered", () => {
  for (const followed of [true, false]) {
    it(`says so and repairs nothing by the old definition, ${followed ? "" : "not "}beside a sync`, async () => {
      await using bench = await Bench.open(17, BOOKS_DDL, ["table: rating", BOOKS]);
      if (followed) {
        bench.start();
        await bench.settled();
      } else await bench.runOnce();
      const compared: string[] = [];
      const work = async () => {
        const options = { ...VERIFY_DEFAULTS, repair: true };
        for await (const { index } of verify(bench.options, options, AbortSignal.timeout(LIMIT_MS))) {
          compared.push(index);
          if (compared.length > 1) continue;
          await bench.write("ALTER TABLE book ADD COLUMN pages int DEFAULT 7");
          if (followed) await bench.settled();
          else await bench.runOnce();
        }
      };
      await fails(work(), "SOURCE_CHANGED");
      assert.deepEqual(compared, [bench.schema.documents[0]?.index]);
      await bench.assertEqual("after the table was altered");
    });
  }
});
