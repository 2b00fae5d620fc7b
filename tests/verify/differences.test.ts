/** The comparison of an index with its tables: damage done by hand is found, each kind with its place. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BYTES_AN_ITEM, bytesOfDifferences } from "../../src/documents/work_memory.ts";
import { LEAST_BUDGET } from "../../src/memory/budget.ts";
import { RunMemory } from "../../src/sync/run_memory.ts";
import { Bench } from "../integration/support.ts";
import type { ComparisonProgress } from "../../src/verify/differences.ts";
import { BOOKS, BOOKS_DDL, compare, Vandal } from "./damage.ts";

const brief = (found: Awaited<ReturnType<typeof compare>>) =>
  found.map(({ id, kind, changes }) => [id, kind, ...changes.map(({ path }) => path)].join(" "));

describe("A comparison of an index with its tables", () => {
  it("finds what was damaged by hand, and nothing else", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    await bench.runOnce();
    let progress: ComparisonProgress | null = null;
    assert.deepEqual(await compare(bench, { kind: "all" }, { onProgress: (now) => (progress = now) }), []);
    assert.deepEqual(progress, { compared: 300, listed: 300 });

    const vandal = new Vandal(bench);
    await vandal.remove("1");
    await vandal.put("301", '{"id":301}');
    await vandal.put("no number", '{"id":1}');
    await vandal.put("007", await vandal.source("7"));
    await vandal.change("2", /"rating 301"/, '"rating 3O1"');
    // 9007199254740993 + 602, and one more, which a double does not tell apart.
    await vandal.change("3", "9007199254741595", "9007199254741596");
    await vandal.change("4", "4.10", "4.1");
    await vandal.change("5", /("rating" ?: ?\[)(\{[^}]*\})(, ?)(\{[^}]*\})/, "$1$4$3$2");
    await vandal.change("6", /"title" ?: ?"book 6"/, '"titel":"book 6"');
    await vandal.change("8", '"book 8"', '"\\u0062ook\\u00208"');

    assert.deepEqual(brief(await compare(bench)), [
      "007 extra",
      "1 missing",
      "2 different $.rating[1].text",
      "3 different $.rating[2].value",
      "301 extra",
      "4 different $.price",
      "5 different $.rating[0].id $.rating[0].value $.rating[0].text " +
      "$.rating[1].id $.rating[1].value $.rating[1].text",
      "6 different $.title $.titel",
      "no number extra",
    ]);
  });

  it("knows composite keys, and texts that need escapes in an id", async () => {
    await using bench = await Bench.open(
      17,
      `CREATE TABLE place (zone text, area int, name text, PRIMARY KEY (zone, area));
       INSERT INTO place SELECT 'a|' || n, n, 'x' FROM generate_series(1, 50) AS n;
       INSERT INTO place VALUES ('\\', 1, 'x'), ('plain', 7, 'x');`,
      "table: place",
    );
    await bench.runOnce();
    assert.deepEqual(await compare(bench, { kind: "all" }, { chunkRows: 10 }), []);
    const vandal = new Vandal(bench);
    await vandal.remove("3|a\\|3");
    await vandal.change("7|plain", '"x"', '"y"');
    await vandal.put("7|a", "{}");
    await vandal.put("one", "{}");
    await vandal.put("x|plain", "{}");
    assert.deepEqual(brief(await compare(bench, { kind: "all" }, { chunkRows: 10 })), [
      "3|a\\|3 missing",
      "7|a extra",
      "7|plain different $.name",
      "one extra",
      "x|plain extra",
    ]);
  });

  it("tells documents that PostgreSQL cannot make from those that differ", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    await bench.runOnce();
    // `json` takes it, yet no `numeric` is so large, so it has no `jsonb`.
    await bench.write(`UPDATE book SET note = '{"a": 1e200000}' WHERE id IN (20, 200)`);
    await new Vandal(bench).remove("21");
    const found = await compare(bench);
    assert.deepEqual(brief(found), ["20 unmakeable", "200 unmakeable", "21 missing"]);
    assert.match(found[0]?.reason ?? "", /numeric/);
  });

  it("reads what the index holds in parts that have room, however much larger it is", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS, { maxMemoryBytes: LEAST_BUDGET });
    await bench.write(
      "UPDATE rating SET text = repeat('x', 10000)",
      "UPDATE rating SET text = repeat('x', 300000) WHERE id = 7",
    );
    await bench.runOnce();
    await bench.write("TRUNCATE rating", "DELETE FROM book WHERE id = 300");
    const { pageBytes, documents: { limit } } = new RunMemory(bench.options, 1, 1).work;
    const answers: { ids: number; bytes: number }[] = [];
    const onAnswer = (ids: number, bytes: number) => void answers.push({ ids, bytes });
    const all = Array.from({ length: 300 }, (_, n) => n === 299 ? "300 extra" : `${n + 1} different`);
    const kinds = (found: Awaited<ReturnType<typeof compare>>) =>
      found.map(({ id, kind }) => `${id} ${kind}`);

    const found = await compare(bench, { kind: "all" }, { onAnswer });
    assert.deepEqual(kinds(found), all.toSorted());
    const room = (count: number) => pageBytes + count * BYTES_AN_ITEM + 16 * 1024;
    for (const { ids, bytes } of answers) assert.ok(bytes <= room(ids), `${ids} documents: ${bytes} bytes`);
    // Documents of 30 kB, of which one or two have room, are not asked for by the hundred again and again.
    assert.ok(answers.length < 300 && answers.length > 100, `${answers.length} answers`);

    // By their ids their values are compared, so each is read, at last by itself.
    answers.length = 0;
    const looked = await compare(bench, { kind: "since", lsn: 0n }, { onAnswer });
    assert.deepEqual(kinds(looked), all.toSorted());
    assert.ok(looked.every(({ kind, changes }) => kind === "extra" || changes[0]?.path === "$.rating"));
    for (const { ids, bytes } of answers) {
      assert.ok(ids === 1 || bytes <= room(ids), `${ids}: ${bytes} bytes`);
    }
    assert.ok(answers.every(({ bytes }) => bytes < limit));
    await bench.runOnce();
    assert.deepEqual(await compare(bench), []);
  });

  it("of a view of which nearly all differs gives page after page, and counts what was found until it is taken", async () => {
    const tables = `
      CREATE TABLE word (id int PRIMARY KEY, text text);
      CREATE VIEW upper_word AS SELECT id, upper(text) AS text FROM word;
      INSERT INTO word SELECT n, 'word ' || n FROM generate_series(1, 3000) AS n`;
    const view = "table: upper_word\nprimary_key: [id]";
    await using bench = await Bench.open(17, tables, view, { maxMemoryBytes: LEAST_BUDGET });
    await bench.runOnce();
    const memory = new RunMemory(bench.options, 1, 1);
    const most = memory.work.chunkRows(Infinity);
    assert.ok(most < 1_000, "all that may be found at once is less than will be");
    for (const [changed, expected] of [[most - 100, most - 100], [3000, 3000]] as const) {
      // Unheard, for nobody follows the stream.
      await bench.write(`UPDATE word SET text = text || '!' WHERE id <= ${changed}`);
      const pages: number[] = [];
      let killed = 0;
      let progress: ComparisonProgress | null = null;
      const found = await compare(bench, { kind: "all" }, {
        memory,
        onPage: async (page) => {
          if (pages.push(page.length) === 5) {
            // The cursor is lost, and with it the place; all begins again.
            const sessions = await bench.sql`
              SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND query LIKE 'FETCH%' AND pid <> pg_backend_pid()`;
            killed += sessions.length;
          }
          assert.ok(
            memory.budget.keys.held >= bytesOfDifferences(page.length),
            "it is counted while it is there",
          );
        },
        onProgress: (now) => (progress = now),
      });
      assert.equal(killed, expected === 3000 ? 1 : 0);
      assert.ok(killed > 0 || found.length === expected);
      assert.equal(new Set(found.map(({ id }) => id)).size, expected);
      assert.ok(found.every(({ kind, changes }) => kind === "different" && changes[0]?.path === "$.text"));
      assert.ok(Math.max(...pages) <= most, `a page of ${Math.max(...pages)}`);
      assert.deepEqual(progress, { compared: 3000, listed: 3000 });
      assert.equal(memory.budget.held, 0);
    }
    assert.ok(memory.budget.most <= LEAST_BUDGET);
  });

  it("takes a sample of both sides", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    await bench.runOnce();
    let progress: ComparisonProgress | null = null;
    const onProgress = (now: ComparisonProgress) => (progress = now);
    assert.deepEqual(await compare(bench, { kind: "sample", size: 20 }, { onProgress }), []);
    assert.deepEqual(progress, { compared: 20, listed: 20 });
    const vandal = new Vandal(bench);
    await vandal.put("999", "{}");
    await vandal.remove("10");
    const all = await compare(bench, { kind: "sample", size: 1_000 });
    assert.deepEqual(brief(all), ["10 missing", "999 extra"]);
  });

  it("looks only at documents written since a position", async () => {
    await using bench = await Bench.open(17, BOOKS_DDL, BOOKS);
    await bench.runOnce();
    const [row] = await bench.sql<{ lsn: string }[]>`SELECT pg_current_wal_flush_lsn() AS lsn`;
    const lsn = BigInt(`0x${(row?.lsn ?? "").split("/").map((half) => half.padStart(8, "0")).join("")}`);
    await bench.write("UPDATE rating SET text = 'new' WHERE book_id IN (11, 12)");
    await bench.runOnce();
    const vandal = new Vandal(bench);
    await vandal.change("10", '"book 10"', '"x"');
    await vandal.change("11", '"book 11"', '"x"');
    let progress: ComparisonProgress | null = null;
    const onProgress = (now: ComparisonProgress) => (progress = now);
    assert.deepEqual(brief(await compare(bench, { kind: "since", lsn }, { onProgress })), [
      "11 different $.title",
    ]);
    assert.deepEqual(progress, { compared: 0, listed: 2 });
  });
});
