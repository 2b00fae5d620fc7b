import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Exact, firstDifference, isObject, parseExact } from "../../scripts/demo/digits.ts";
import { indexedDocuments } from "../oracle/compare.ts";
import { Bench } from "./support.ts";

/** `json` takes it, yet no `numeric` is so large, so it has no `jsonb`: SQLSTATE 22003. */
const BAD = `'{"a": 1e200000}'`;

const TABLES = `
  create table book (id int, part text, j json, primary key (id, part));
  create table note (id int primary key, book_id int, book_part text, j json, foreign key (book_id, book_part) references book);
  insert into book select i, 'a|' || i, '{"a": 1}' from generate_series(1, 600) i;
  insert into note select i, i, 'a|' || i, '{"b": 2}' from generate_series(1, 600) i;
  analyze book, note`;
const NODES = `
table: book
children:
  - {table: note, relationship: {variant: object, type: one_to_many}}`;

async function withBooks(work: (bench: Bench) => Promise<void>): Promise<void> {
  await using bench = await Bench.open(17, TABLES, NODES);
  await work(bench);
}

/** The dead letters, told in short. The run must be over. */
function letters(bench: Bench): unknown[] {
  return bench.deadLetters().map(({ id, status, type, operation }) => ({ id, status, type, operation }));
}

/** The documents that the index holds. */
async function indexed(bench: Bench): Promise<Map<string, Exact>> {
  return await indexedDocuments(bench.searchUrl, bench.schema.documents[0]?.index ?? "");
}

/** The documents in which `j` of the book is not `{"a": 2}`. */
function behind(documents: ReadonlyMap<string, Exact>): string[] {
  const j = parseExact('{"a": 2}');
  return [...documents].filter(([, document]) =>
    !isObject(document) || firstDifference(j, document["j"] ?? null) !== null
  )
    .map(([id]) => id);
}

function deadLettersCounted(bench: Bench, source: "load" | "stream"): number {
  return bench.events.reduce(
    (sum, event) => sum + (event.type === "refused" && event.source === source ? event.deadLetters : 0),
    0,
  );
}

const LETTER = {
  id: String.raw`7|a\|7`,
  status: 0,
  type: "postgresql_22003",
  operation: "index",
};

describe("A row of which PostgreSQL can make no document", () => {
  for (const table of ["book", "note"]) {
    it(`in ${table}, met by the load, becomes the one dead letter, and the run goes on`, () =>
      withBooks(async (bench) => {
        await bench.write(`update ${table} set j = ${BAD} where id = 7`);
        bench.start();
        await bench.settled();
        assert.equal((await indexed(bench)).size, 599, "all but one are there");
        await bench.write("update book set j = '{\"a\": 3}' where id = 8");
        await bench.settled();
        await bench.stop();
        assert.deepEqual(letters(bench), [LETTER]);
        assert.equal(deadLettersCounted(bench, "load"), 1);

        bench.start();
        await bench.write(`update ${table} set j = '{}' where id = 7`);
        await bench.assertSettled("the row is mended");
        await bench.stop();
        assert.deepEqual(letters(bench), []);
      }));

    it(`in ${table}, met by the stream, likewise`, () =>
      withBooks(async (bench) => {
        bench.start();
        await bench.assertSettled("loaded");
        await bench.write(
          `update ${table} set j = ${BAD} where id = 7; update book set j = '{"a": 2}' where id <> 7`,
          "delete from note where id = 500; delete from book where id = 500",
        );
        await bench.settled();
        const documents = await indexed(bench);
        assert.equal(documents.size, 599);
        assert.deepEqual(behind(documents), [LETTER.id], "the others are equal");
        await bench.stop();
        assert.deepEqual(letters(bench), [LETTER]);
        assert.ok(deadLettersCounted(bench, "stream") >= 1);

        bench.start();
        await bench.write(`update ${table} set j = '{}' where id = 7`);
        await bench.assertSettled("the row is mended");
        await bench.stop();
        assert.deepEqual(letters(bench), []);
      }));
  }

  it("leaves the list where it is deleted", () =>
    withBooks(async (bench) => {
      await bench.write(`update note set j = ${BAD} where id in (7, 9, 600)`);
      bench.start();
      await bench.settled();
      await bench.write(
        "delete from note where id in (7, 9); delete from book where id = 7; delete from note where id = 600",
      );
      await bench.assertSettled("bad rows are gone");
      await bench.stop();
      assert.deepEqual(letters(bench), []);
    }));
});
