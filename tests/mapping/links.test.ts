import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import postgres from "postgres";
import { readCatalog } from "../../src/catalog/read.ts";
import type { Relation } from "../../src/catalog/types.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { type Link, resolveLink } from "../../src/mapping/links.ts";
import type { Relationship } from "../../src/schema/tree.ts";
import { usePostgres } from "../support/postgres.ts";
import { catalogOf, node, relation } from "./fixtures.ts";

const PUBLISHER = relation("publisher", { id: "int4", code: "text", name: "text" }, {
  key: ["id"],
  unique: [["code"]],
});
const BOOK = relation("book", { id: "int8", publisher_id: "int4", isbn: "text" }, {
  key: ["id"],
  references: ["publisher_id -> publisher(id)"],
});

describe("a link by the foreign key between two tables", () => {
  it("is found on the child", () => {
    assert.deepEqual(link(PUBLISHER, BOOK), {
      kind: "direct",
      pairs: [{ parent: "id", child: "publisher_id" }],
      keyOn: "child",
      unique: false,
    });
  });

  it("is found on the parent, to whose row there is one child at most", () => {
    assert.deepEqual(link(BOOK, PUBLISHER), {
      kind: "direct",
      pairs: [{ parent: "publisher_id", child: "id" }],
      keyOn: "parent",
      unique: true,
    });
  });

  it("may refer to a unique column that is no primary key", () => {
    const author = relation("author", { code: "text" }, { references: ["code -> publisher(code)"] });
    assert.deepEqual(pairsOf(link(author, PUBLISHER)), ["code = code"]);
  });

  it("pairs the columns of a composite key one by one", () => {
    const order = relation("order", { shop: "int4", number: "int4" }, { key: ["shop", "number"] });
    const line = relation("line", { n: "int4", s: "int4" }, { references: ["n,s -> order(number,shop)"] });
    assert.deepEqual(pairsOf(link(order, line)), ["number = n", "shop = s"]);
  });

  it("is unique where a unique index lies on the child's columns, or on some of them", () => {
    const detail = relation("detail", { book_id: "int8", isbn: "text" }, {
      unique: [["book_id"]],
      references: ["book_id,isbn -> book(id,isbn)"],
    });
    const found = link(BOOK, detail);
    assert.ok(found.kind === "direct" && found.unique);
  });

  it("of a table to itself joins the rows that refer to the parent", () => {
    const tree = relation("node", { id: "int4", node_id: "int4" }, {
      key: ["id"],
      references: ["node_id -> node(id)"],
    });
    assert.deepEqual(link(tree, tree), {
      kind: "direct",
      pairs: [{ parent: "id", child: "node_id" }],
      keyOn: "child",
      unique: false,
    });
  });

  it("counts once where the same key was declared twice", () => {
    const book = relation("book", { publisher_id: "int4" }, {
      references: ["publisher_id -> publisher(id)", "publisher_id -> publisher(id)"],
    });
    assert.deepEqual(pairsOf(link(PUBLISHER, book)), ["id = publisher_id"]);
  });

  it("is not one to a table of the same name in another schema", () => {
    const other = relation("publisher", { id: "int4" }, { key: ["id"], schema: "other" });
    assert.equal(errorOf(() => link(other, BOOK)).code, "FOREIGN_KEY_MISSING");
  });

  it("is missing: the error shows both ways to say it", () => {
    const review = relation("review", { id: "int4", about: "int8" });
    const { code, message, remedy } = errorOf(() => link(BOOK, review));
    assert.equal(code, "FOREIGN_KEY_MISSING");
    assert.equal(
      message,
      'No foreign key joins "public"."review" to its parent "public"."book" at schema.yaml:5:5 ' +
        "([0].nodes.children[0].relationship).",
    );
    assert.equal(
      remedy,
      'Name the columns in the schema file, as foreign_key: {"parent": ["id"], "child": ["book_id"]} ' +
        '(whichever they are), or add the foreign key, as ALTER TABLE "public"."review" ADD FOREIGN KEY ("book_id") ' +
        'REFERENCES "public"."book" ("id");',
    );
  });

  it("is ambiguous where there are several, in either direction: the error lists them with what to add", () => {
    const city = relation("city", { id: "int4" }, { key: ["id"], references: ["id -> flight(to_id)"] });
    const flight = relation("flight", { from_id: "int4", to_id: "int4" }, {
      references: ["from_id -> city(id)", "to_id -> city(id)"],
    });
    const { code, message, remedy } = errorOf(() => link(flight, city));
    assert.equal(code, "FOREIGN_KEY_AMBIGUOUS");
    assert.equal(
      message,
      '2 foreign keys could join "public"."city" to its parent "public"."flight" at schema.yaml:5:5 ' +
        '([0].nodes.children[0].relationship): "city_id_fkey" and "flight_to_id_fkey" (city.id → flight.to_id); ' +
        '"flight_from_id_fkey" (flight.from_id → city.id).',
    );
    assert.equal(
      remedy,
      'Say which one is meant: foreign_key: {"parent": ["to_id"], "child": ["id"]} or ' +
        'foreign_key: {"parent": ["from_id"], "child": ["id"]}',
    );
  });
});

describe("a link by relationship.foreign_key", () => {
  const by = (parent: string[], child: string[]): Partial<Relationship> => ({
    foreignKey: { parent, child },
  });

  it("needs no constraint, and goes before the one there is", () => {
    const named = relation("book", { id: "int8", publisher_id: "int4", code: "varchar" }, {
      references: ["publisher_id -> publisher(id)"],
    });
    assert.deepEqual(pairsOf(link(PUBLISHER, named, by(["code"], ["code"]))), ["code = code"]);
  });

  it("is held by the side whose columns are not unique, unless a constraint says otherwise", () => {
    const free = relation("book", { publisher_id: "int4" });
    const sides = [
      link(PUBLISHER, free, by(["id"], ["publisher_id"])),
      link(free, PUBLISHER, by(["publisher_id"], ["id"])),
      link(BOOK, PUBLISHER, by(["publisher_id"], ["id"])),
      link(free, free, by(["publisher_id"], ["publisher_id"])),
    ];
    assert.deepEqual(sides.map((found) => found.kind === "direct" && found.keyOn), [
      "child",
      "parent",
      "parent",
      "child",
    ]);
  });

  it("turns a table that refers to itself the other way round", () => {
    const tree = relation("node", { id: "int4", node_id: "int4" }, {
      key: ["id"],
      references: ["node_id -> node(id)"],
    });
    assert.deepEqual(link(tree, tree, by(["node_id"], ["id"])), {
      kind: "direct",
      pairs: [{ parent: "node_id", child: "id" }],
      keyOn: "parent",
      unique: true,
    });
  });

  it("chooses among several constraints", () => {
    const city = relation("city", { id: "int4" }, { key: ["id"] });
    const flight = relation("flight", { from_id: "int4", to_id: "int4" }, {
      references: ["from_id -> city(id)", "to_id -> city(id)"],
    });
    assert.deepEqual(pairsOf(link(flight, city, by(["to_id"], ["id"]))), ["to_id = id"]);
  });

  it("must name columns that exist", () => {
    const { code, message } = errorOf(() => link(PUBLISHER, BOOK, by(["id"], ["publisher"])));
    assert.equal(code, "COLUMN_MISSING");
    assert.equal(
      message,
      'Table "public"."book" has no column "publisher", which foreign_key at schema.yaml:5:5 ' +
        '([0].nodes.children[0].relationship) names; did you mean "publisher_id"?',
    );
  });

  it("must pair columns that PostgreSQL compares", () => {
    assert.deepEqual(pairsOf(link(PUBLISHER, BOOK, by(["id"], ["id"]))), ["id = id"]);
    const { code, message } = errorOf(() => link(PUBLISHER, BOOK, by(["id"], ["isbn"])));
    assert.equal(code, "SCHEMA_INVALID");
    assert.equal(
      message,
      "foreign_key at schema.yaml:5:5 ([0].nodes.children[0].relationship) pairs " +
        '"public"."publisher"."id" of type int4 with "public"."book"."isbn" of type text, which PostgreSQL does not compare and sort.',
    );
  });
});

describe("a link through a table", () => {
  const AUTHOR = relation("author", { id: "int4" }, { key: ["id"] });
  const BOOK_AUTHOR = relation("book_author", { book_id: "int8", author_id: "int4" }, {
    references: ["book_id -> book(id)", "author_id -> author(id)"],
  });
  const through = (table: string): Partial<Relationship> => ({
    throughTables: [{ schema: "public", table }],
  });

  it("follows its one foreign key to each side", () => {
    assert.deepEqual(link(BOOK, AUTHOR, through("book_author"), BOOK_AUTHOR), {
      kind: "through",
      table: BOOK_AUTHOR,
      toParent: [{ parent: "id", link: "book_id" }],
      toChild: [{ link: "author_id", child: "id" }],
    });
  });

  it("takes no notice of a foreign_key beside it", () => {
    const both = { ...through("book_author"), foreignKey: { parent: ["nothing"], child: ["nowhere"] } };
    assert.equal(link(BOOK, AUTHOR, both, BOOK_AUTHOR).kind, "through");
  });

  it("must exist", () => {
    const { code, message } = errorOf(() => link(BOOK, AUTHOR, through("books_author"), BOOK_AUTHOR));
    assert.equal(code, "TABLE_MISSING");
    assert.match(
      message,
      /"public"\."books_author".* does not exist; did you mean "public"\."book_author"\?$/,
    );
  });

  it("must have a foreign key to each side", () => {
    const half = relation("half", { book_id: "int8" }, { references: ["book_id -> book(id)"] });
    const { code, message, remedy } = errorOf(() => link(BOOK, AUTHOR, through("half"), half));
    assert.equal(code, "FOREIGN_KEY_MISSING");
    assert.match(
      message,
      /^The link table "public"\."half" has no foreign key to the child "public"\."author" at /,
    );
    assert.match(
      remedy,
      /ALTER TABLE "public"\."half" ADD FOREIGN KEY \("author_id"\) REFERENCES "public"\."author" \("id"\);/,
    );
  });

  it("is ambiguous with two foreign keys to one side, or between a table and itself", () => {
    const friend = relation("friend", { one: "int4", other: "int4" }, {
      references: ["one -> author(id)", "other -> author(id)"],
    });
    const { code, message, remedy } = errorOf(() => link(AUTHOR, AUTHOR, through("friend"), friend));
    assert.equal(code, "FOREIGN_KEY_AMBIGUOUS");
    assert.match(message, /"friend_one_fkey" \(one\), "friend_other_fkey" \(other\); nothing says which/);
    assert.match(remedy, /on "public"\."friend" foreign_key: {"parent": \["id"\], "child": \["one"\]}/);
    assert.match(remedy, /on "public"\."author" foreign_key: {"parent": \["other"\], "child": \["id"\]}/);

    const editors = relation("editors", { book_id: "int8", author_id: "int4", editor_id: "int4" }, {
      references: ["book_id -> book(id)", "author_id -> author(id)", "editor_id -> author(id)"],
    });
    assert.equal(
      errorOf(() => link(BOOK, AUTHOR, through("editors"), editors)).code,
      "FOREIGN_KEY_AMBIGUOUS",
    );
  });
});

describe("links between partitioned tables", () => {
  let sql: postgres.Sql;

  before(async () => {
    sql = postgres((await (await usePostgres()).createDatabase()).url, { max: 1, onnotice: () => {} });
  });

  after(() => sql?.end({ timeout: 1 }));

  it("are found on them and to them, once each", async () => {
    await sql.unsafe(`
      CREATE TABLE event (id int, kind int, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
      CREATE TABLE event_1 PARTITION OF event FOR VALUES IN (1);
      CREATE TABLE event_2 PARTITION OF event FOR VALUES IN (2);
      CREATE TABLE note (id int, event_id int, event_kind int, FOREIGN KEY (event_id, event_kind) REFERENCES event)
        PARTITION BY RANGE (id);
      CREATE TABLE note_1 PARTITION OF note FOR VALUES FROM (0) TO (9);
    `);
    const catalog = await readCatalog(sql, ["event", "note"].map((table) => ({ schema: "public", table })));
    const [event, note] = catalog.relations;
    assert.ok(event && note);
    assert.deepEqual(pairsOf(link(event, note)), ["id = event_id", "kind = event_kind"]);
    assert.deepEqual(pairsOf(link(note, event)), ["event_id = id", "event_kind = kind"]);
  });
});

function link(
  parent: Relation,
  child: Relation,
  relationship: Partial<Relationship> = {},
  ...others: Relation[]
): Link {
  return resolveLink(parent, child, node(child.table, { relationship }), catalogOf(parent, child, ...others));
}

/** `parent = child` for each pair. */
function pairsOf(found: Link): string[] {
  assert.equal(found.kind, "direct");
  return found.kind === "direct" ? found.pairs.map((pair) => `${pair.parent} = ${pair.child}`) : [];
}

function errorOf(act: () => unknown): PgsyncError {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof PgsyncError, String(error));
    return error;
  }
  assert.fail("no error was thrown");
}
