import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Relation as TableRelation } from "../../src/catalog/types.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { changeSources } from "../../src/mapping/change_sources.ts";
import type { Relation, RowChange } from "../../src/replication/pgoutput_types.ts";
import { ChangeBatch } from "../../src/changes/change_batch.ts";
import { ChangeCollector } from "../../src/changes/change_collector.ts";
import { catalogOf, node } from "../mapping/fixtures.ts";
import {
  AUTHOR,
  BOOK,
  BOOK_AUTHOR,
  BOOKS,
  mapped,
  PUBLISHER,
  RATING,
  row,
  streamed,
  table,
} from "../sync/shop.ts";

const DOCUMENT = mapped(BOOKS);
const ratings = streamed(RATING, "full");
const books = streamed(BOOK);

/** What changes mark, as "path (role): values". */
function marked(...changes: readonly RowChange[]): string[] {
  const batch = new ChangeBatch();
  const collector = new ChangeCollector(changeSources(DOCUMENT));
  for (const change of changes) collector.collect(change, 7, batch);
  assert.deepEqual([...batch.transactions], batch.hasWork ? [7] : []);
  return [...batch.values].flatMap(([source, values]) =>
    [...values].map((value) => `${source.node.path} (${source.role}): ${value.replaceAll("\0", "+")}`)
  );
}

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof PgsyncError && error.code === expected;
}

describe("A change marks", () => {
  it("the link values of a row that comes", () => {
    assert.deepEqual(marked({ kind: "insert", relation: ratings, newTuple: row("1", "5", "3", null) }), [
      "rating (node): 5",
    ]);
    assert.deepEqual(marked({ kind: "insert", relation: books, newTuple: row("1", "t", null, null) }), [
      "book (root): 1",
    ]);
  });

  it("those of a row that goes", () => {
    assert.deepEqual(marked({ kind: "delete", relation: ratings, oldTuple: row("1", "5", "3", null) }), [
      "rating (node): 5",
    ]);
  });

  it("both sides of a row that moves", () => {
    const update: RowChange = {
      kind: "update",
      relation: ratings,
      oldTuple: row("1", "5", "3", null),
      newTuple: row("1", "6", "3", null),
    };
    assert.deepEqual(marked(update), ["rating (node): 5", "rating (node): 6"]);
  });

  it("a link row's near side only, for the far side is built anew with it", () => {
    const links = streamed(BOOK_AUTHOR);
    const moved: RowChange = {
      kind: "update",
      relation: links,
      oldTuple: row("1", "2"),
      newTuple: row("3", "2"),
    };
    assert.deepEqual(marked(moved), ["author (link): 1", "author (link): 3"]);
    const farMoved: RowChange = {
      kind: "update",
      relation: links,
      oldTuple: row("1", "2"),
      newTuple: row("1", "4"),
    };
    assert.deepEqual(marked(farMoved), ["author (link): 1"]);
    assert.deepEqual(marked({ kind: "insert", relation: streamed(AUTHOR), newTuple: row("4", "n") }), [
      "author (node): 4",
    ]);
  });

  it("nothing where no used column changed", () => {
    const update: RowChange = {
      kind: "update",
      relation: ratings,
      oldTuple: row("1", "5", "3", "a"),
      newTuple: row("1", "5", "3", "b"),
    };
    assert.deepEqual(marked(update), []);
  });

  it("nothing through a link with NULL in it", () => {
    assert.deepEqual(marked({ kind: "insert", relation: ratings, newTuple: row("1", null, "3", null) }), []);
  });

  it("the new row where no old one is sent, for its identity did not change", () => {
    assert.deepEqual(
      marked({ kind: "update", relation: books, oldTuple: null, newTuple: row("1", "t", "2", undefined) }),
      ["book (root): 1"],
    );
  });

  it("the old and the new key of a root", () => {
    const update: RowChange = {
      kind: "update",
      relation: books,
      oldTuple: row("1", undefined, undefined, undefined),
      newTuple: row("2", "t", "2", null),
    };
    assert.deepEqual(marked(update), ["book (root): 1", "book (root): 2"]);
  });

  it("a value once, and a link value that was too long to be sent again by its old row", () => {
    assert.equal(
      marked(
        ...["1", "2"].map((id): RowChange => ({
          kind: "insert",
          relation: ratings,
          newTuple: row(id, "5", "3", null),
        })),
      ).length,
      1,
    );
    const publishers = streamed(PUBLISHER);
    assert.deepEqual(
      marked({ kind: "update", relation: publishers, oldTuple: null, newTuple: row("7", "n", undefined) }),
      ["publisher (node): 7"],
    );
  });

  it("nothing in a table of no document", () => {
    assert.deepEqual(
      marked({ kind: "insert", relation: { ...books, relationId: 1 }, newTuple: row("1") }),
      [],
    );
  });
});

describe("A change halts the run", () => {
  it("where the identity does not carry the old link value", () => {
    const bare = streamed(RATING);
    assert.throws(
      () => marked({ kind: "delete", relation: bare, oldTuple: row("1", undefined, undefined, undefined) }),
      code("OLD_VALUE_MISSING"),
    );
    assert.throws(
      () => marked({ kind: "update", relation: bare, oldTuple: null, newTuple: row("1", "5", "3", null) }),
      code("OLD_VALUE_MISSING"),
    );
  });

  it("where a whole old row was promised and none came", () => {
    assert.throws(
      () => marked({ kind: "update", relation: ratings, oldTuple: null, newTuple: row("1", "5", "3", null) }),
      code("OLD_VALUE_MISSING"),
    );
  });
});

describe("A table that the stream describes otherwise than the catalog", () => {
  const full = { kind: "full" as const, columns: RATING.columns.map((column) => column.name) };
  const sources = changeSources(DOCUMENT).map((source) =>
    source.relation === RATING ? { ...source, relation: { ...RATING, replicaIdentity: full } } : source
  );
  const described = (changes: Partial<Relation>, change: (relation: Relation) => RowChange) => {
    const batch = new ChangeBatch();
    let strange = 0;
    const collector = new ChangeCollector(sources, () => strange++);
    collector.collect(change({ ...ratings, ...changes }), 7, batch);
    return { strange, all: batch.reconcile.size, values: batch.values.size };
  };
  const insert = (relation: Relation): RowChange => ({
    kind: "insert",
    relation,
    newTuple: row(...relation.columns.map(() => "1")),
  });

  it("is no matter where nothing differs", () => {
    assert.deepEqual(described({}, insert), { strange: 0, all: 0, values: 1 });
  });

  it("has all documents read again where a link column has another name or type, and asks for a look", () => {
    const renamed = ratings.columns.map((column) =>
      column.name === "book_id" ? { ...column, name: "volume" } : column
    );
    const retyped = ratings.columns.map((column) =>
      column.name === "book_id" ? { ...column, typeOid: 20 } : column
    );
    for (const columns of [renamed, retyped]) {
      assert.deepEqual(described({ columns }, insert), { strange: 1, all: 1, values: 0 });
    }
  });

  it("is understood where another column was added or is gone, and asks for a look", () => {
    const fewer = ratings.columns.filter((column) => column.name !== "value");
    const more = [...ratings.columns, { name: "new", typeOid: 25, typeModifier: -1, isKey: true }];
    for (const columns of [fewer, more]) {
      assert.deepEqual(described({ columns }, insert), { strange: 1, all: 0, values: 1 });
    }
  });

  it("has all documents read again where the old row lacks what the identity carries now", () => {
    const bare = streamed(RATING);
    const batch = new ChangeBatch();
    let strange = 0;
    const oldTuple = row("1", undefined, undefined, undefined);
    new ChangeCollector(sources, () => strange++).collect(
      { kind: "delete", relation: bare, oldTuple },
      7,
      batch,
    );
    assert.equal(batch.reconcile.size, 1);
    assert.ok(strange > 0);
  });
});

describe("An old row of a partition of which only the key is known", () => {
  const collect = (
    rating: TableRelation,
    change: Pick<RowChange & { kind: "update" }, "oldTuple" | "newTuple"> | null = null,
  ) => {
    const document = mapped(
      node("book", { children: [node("rating", { relationship: {} })] }),
      catalogOf(BOOK, rating),
    );
    const batch = new ChangeBatch();
    const collector = new ChangeCollector(changeSources(document));
    const relation = streamed(rating, "full");
    collector.collect(
      change === null
        ? { kind: "delete", relation, oldTuple: row("1", null) }
        : { kind: "update", relation, ...change },
      7,
      batch,
    );
    return batch;
  };
  const partitioned = (): TableRelation => ({
    ...table("rating", { id: "int4", book_id: "int4" }, { key: ["id"], references: ["book_id -> book(id)"] }),
    kind: "partitioned",
  });

  it("has every root read again where one of the others is never NULL", () => {
    const rating = partitioned();
    const columns = rating.columns.map((column) => ({ ...column, notNull: true }));
    assert.equal(collect({ ...rating, columns }).reconcile.size, 1);
  });

  it("has every root read again where all may be NULL", () => {
    assert.equal(collect(partitioned()).reconcile.size, 1);
  });

  it("has every root read again where it should have come with an UPDATE, and did not", () => {
    assert.equal(collect(partitioned(), { oldTuple: null, newTuple: row("1", "5") }).reconcile.size, 1);
  });

  it("has every root read again where the key changed, though all else seems as it was", () => {
    assert.equal(
      collect(partitioned(), { oldTuple: row("1", null), newTuple: row("2", null) }).reconcile.size,
      1,
    );
  });

  it("is a whole row of NULLs where the key did not change: else none would have come", () => {
    const batch = collect(partitioned(), { oldTuple: row("1", null), newTuple: row("1", "5") });
    assert.equal(batch.reconcile.size, 0);
    assert.deepEqual([...batch.values].flatMap(([, values]) => [...values]), ["5"]);
  });

  it("is incomplete where a column that is never NULL is: a partition's identity is an index", () => {
    const { columns, ...rating } = partitioned();
    const told = { ...rating, columns: columns.map((column) => ({ ...column, notNull: true })) };
    const batch = collect(told, { oldTuple: row(null, "5"), newTuple: row("1", "6") });
    assert.equal(batch.reconcile.size, 1);
  });

  it("means nothing in a table without partitions", () => {
    assert.equal(collect({ ...partitioned(), kind: "table" }).hasWork, false);
  });
});

describe("A partitioned table whose identity is an index", () => {
  const update = (document: ReturnType<typeof mapped>, rating: TableRelation) => {
    const batch = new ChangeBatch();
    const relation = streamed(rating, "index", ["id", "book_id"]);
    new ChangeCollector(changeSources(document)).collect(
      { kind: "update", relation, oldTuple: null, newTuple: row("1", "5") },
      7,
      batch,
    );
    return batch;
  };
  const partitioned: TableRelation = {
    ...table("rating", { id: "int4", book_id: "int4" }, { key: ["id"], references: ["book_id -> book(id)"] }),
    kind: "partitioned",
  };

  it("halts the run: a partition made later would send no old link value, and nobody could tell", () => {
    const tree = node("book", { children: [node("rating", { relationship: {} })] });
    assert.throws(
      () => update(mapped(tree, catalogOf(BOOK, partitioned)), partitioned),
      code("OLD_VALUE_MISSING"),
    );
  });

  it("does as a root, for every partition tells the old primary key", () => {
    assert.equal(update(mapped(node("rating"), catalogOf(partitioned)), partitioned).hasWork, true);
  });
});

describe("TRUNCATE", () => {
  it("has every root read again of the documents in which the table has a place", () => {
    const batch = new ChangeBatch();
    const other = mapped(node("author"));
    const collector = new ChangeCollector([...changeSources(DOCUMENT), ...changeSources(other)]);
    collector.truncated(
      { kind: "truncate", relations: [ratings], cascade: false, restartIdentity: false },
      7,
      batch,
    );
    assert.deepEqual([...batch.reconcile], [DOCUMENT]);
    assert.deepEqual([...batch.transactions], [7]);
  });
});
