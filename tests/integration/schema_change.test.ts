import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { parseSchema } from "../../src/schema/parse.ts";
import type { SchemaFile } from "../../src/schema/tree.ts";
import { assertSameDocuments, indexedDocuments } from "../oracle/compare.ts";
import { expectedDocuments } from "../oracle/documents.ts";
import { client } from "../support/elasticsearch.ts";
import { Bench } from "./support.ts";

const TABLES = `
  create table book (id int primary key, title text, pages int);
  create table rating (id int primary key, book_id int references book, value int);
  insert into book select i, 'book ' || i, i from generate_series(1, 50) i;
  insert into rating select i, i, i % 5 from generate_series(1, 40) i`;
const NODES = `
table: book
columns: [id, title]
children:
  - {table: rating, label: ratings, columns: [value], relationship: {variant: object, type: one_to_many}}`;

/** The schema file rewritten: other nodes, and what else a document has. */
function rewritten(bench: Bench, nodes: string, more = ""): SchemaFile {
  const [document] = bench.schema.documents;
  const indented = nodes.replace(/^\n/, "").replaceAll(/^/gm, "  ");
  const text = `database: ${document?.database}\nindex: ${document?.index}\n${more}nodes:\n${indented}\n`;
  return parseSchema(text, "schema.yaml", {});
}

async function assertEqual(bench: Bench, schema: SchemaFile, when: string): Promise<void> {
  const [document] = schema.documents;
  if (document === undefined) throw new Error("no document");
  const expected = await expectedDocuments(bench.sql, document);
  assertSameDocuments(expected, await indexedDocuments(bench.searchUrl, document.index), when);
}

/** How many loads were finished. */
function loads(bench: Bench): number {
  return bench.events.filter((event) => event.type === "load" && event.load.state === "done").length;
}

/** What the index says of itself. */
async function meta(bench: Bench): Promise<{ generation: string; pgsync: Record<string, unknown> }> {
  const index = bench.schema.documents[0]?.index ?? "";
  const { body } = await client(bench.searchUrl).request("GET", `/${index}/_mapping`);
  const [[generation, found] = []] = Object.entries(
    body as Record<string, { mappings: { _meta: { pgsync: Record<string, unknown> } } }>,
  );
  return { generation: generation ?? "", pgsync: found?.mappings._meta.pgsync ?? {} };
}

describe("A schema file that changed between two runs", () => {
  it("of which no document changes is taken, and nothing is loaded", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await bench.runOnce();
    const before = await meta(bench);
    const schema = rewritten(
      bench,
      `
# rewritten
children:
  - {relationship: {type: one_to_many, variant: object}, columns: [value], label: ratings, table: rating}
columns: [title, id]
label: anything
table: book`,
    );
    for (const bootstrap of [true, false]) await bench.runOnce({ schema, bootstrap });
    await assertEqual(bench, schema, "after the second run");
    assert.equal(loads(bench), 1);
    const after = await meta(bench);
    assert.equal(after.generation, before.generation);
    assert.notEqual(after.pgsync["schema_hash"], before.pgsync["schema_hash"]);
  });

  it("that lacks a document for a while has its index compared when it is back", async () => {
    await using bench = await Bench.open(17, TABLES, [NODES, "\ntable: rating"]);
    await bench.runOnce();
    const [document] = bench.schema.documents;
    assert.ok(document !== undefined);
    const without = { ...bench.schema, documents: [document] };
    await bench.write("update rating set value = 7 where id = 1");
    await bench.runOnce({ schema: without, bootstrap: false });
    await bench.write("update rating set value = 8 where id = 2", "delete from rating where id = 3");
    await bench.runOnce({ schema: without, bootstrap: false });
    await bench.write("insert into rating values (100, 1, 9)");
    await bench.runOnce({ bootstrap: false });
    await bench.assertEqual("with both documents again");
    assert.equal(loads(bench), 2);
  });

  it("of which documents keep their shape has the index loaded anew in place", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await bench.runOnce();
    const before = await meta(bench);
    await bench.write(
      "alter table book rename title to name",
      "update book set name = 'renamed' where id = 7",
      "delete from rating where id = 8; delete from book where id = 8",
    );
    const schema = rewritten(
      bench,
      NODES.replace("columns: [id, title]", "columns: [id, name]\ntransform: {rename: {name: title}}"),
    );
    await bench.runOnce({ schema, bootstrap: false });
    await assertEqual(bench, schema, "after the second run");
    assert.equal(loads(bench), 2);
    assert.equal((await meta(bench)).generation, before.generation);
    await bench.runOnce({ schema, bootstrap: false });
    assert.equal(loads(bench), 2, "once");
  });

  it("is loaded anew in place as often as it changes", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await bench.runOnce();
    const [swapped, back] = [
      rewritten(
        bench,
        NODES.replace("columns: [value]", "columns: [id]\n    transform: {rename: {id: value}}")
          .replace(
            "  - {table: rating, label: ratings, columns: [id]",
            "  - table: rating\n    label: ratings\n    columns: [id]",
          )
          .replace(
            ", relationship: {variant: object, type: one_to_many}}",
            "\n    relationship: {variant: object, type: one_to_many}",
          ),
      ),
      rewritten(bench, NODES),
    ];
    for (const schema of [swapped, back, swapped]) {
      await bench.runOnce({ schema });
      await assertEqual(bench, schema, "after another run");
    }
  });

  it("of which documents have another shape halts, and says what changed and where; nothing was touched", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await bench.runOnce();
    const before = await meta(bench);
    const schema = rewritten(
      bench,
      NODES.replace("[id, title]", "[id, pages]").replace("label: ratings", "label: reviews"),
      "setting: {number_of_replicas: 0}\n",
    );
    for (const bootstrap of [true, false]) {
      await assert.rejects(bench.runOnce({ schema, bootstrap }), (error) => {
        assert.ok(error instanceof PgsyncError && error.code === "INDEX_CHANGED");
        assert.match(
          error.message,
          /field "title" removed from "book", at schema\.yaml:5:3 \(nodes\); field "pages" added to "book", at schema\.yaml:5:3 \(nodes\); /,
        );
        assert.match(
          error.message,
          /child "ratings" removed from "book", at schema\.yaml:5:3 \(nodes\); child "reviews" added to "book", at schema\.yaml:8:7 \(nodes\.children\[0\]\); /,
        );
        assert.match(error.message, /setting number_of_replicas added: 0, at schema\.yaml:1:1/);
        return true;
      });
    }
    assert.deepEqual(await meta(bench), before);
    await bench.runOnce();
    await bench.assertEqual("with the file as it was");
  });

  it("of which documents have another shape halts with --bootstrap, too, before anything is made or changed", async () => {
    await using bench = await Bench.open(17, `${TABLES}; create table later (id int primary key)`, NODES);
    await bench.runOnce();
    const before = await meta(bench);
    await bench.write("update book set title = 'while nothing runs' where id = 1");
    const another = rewritten(
      bench,
      `
table: book
columns: [id, pages]
children:
  - {table: later, relationship: {variant: object, type: one_to_one, foreign_key: {parent: [id], child: [id]}}}`,
    );
    const published = () => bench.sql`select tablename from pg_publication_tables order by 1`.values();
    const tables = await published();
    for (let attempt = 0; attempt < 2; attempt++) {
      await assert.rejects(bench.runOnce({ schema: another }), { code: "INDEX_CHANGED" });
    }
    assert.deepEqual(await published(), tables, "the publication is as it was");
    const after = await meta(bench);
    assert.deepEqual(after, before, "the index says of itself what it said before");
    await bench.runOnce();
    await bench.assertEqual("the schema file as it was goes on");
    assert.equal(loads(bench), 1, "and nothing is loaded anew");
  });

  it("of an index that an older version made goes on as it was, and from then on can be compared", async () => {
    await using bench = await Bench.open(17, TABLES, NODES);
    await bench.runOnce();
    const { generation, pgsync } = await meta(bench);
    const { description, ...older } = pgsync;
    const forget = () =>
      client(bench.searchUrl).request("PUT", `/${generation}/_mapping`, { _meta: { pgsync: older } });
    await forget();
    const schema = rewritten(bench, NODES.replace("[id, title]", "[title]"));
    await assert.rejects(
      bench.runOnce({ schema }),
      (error) =>
        error instanceof PgsyncError && error.code === "INDEX_CHANGED" && /not known/.test(error.message),
    );
    await bench.runOnce();
    assert.deepEqual((await meta(bench)).pgsync["description"], description);
    assert.equal(loads(bench), 1);
    await assert.rejects(bench.runOnce({ schema }), /field "id" removed/);
  });
});
