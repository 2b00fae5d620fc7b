import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { describeChanges, indexChanges } from "../../src/mapping/index_changes.ts";
import { descriptionText, indexDescription, parseDescription } from "../../src/mapping/index_description.ts";
import { mapDocument } from "../../src/mapping/tree.ts";
import type { DocumentSchema, NodeSchema } from "../../src/schema/tree.ts";
import type { Catalog } from "../../src/catalog/types.ts";
import {
  AUTHOR,
  BOOK,
  BOOK_AUTHOR,
  BOOKS,
  documentOf,
  PUBLISHER,
  RATING,
  SHOP,
  table,
} from "../sync/shop.ts";
import { catalogOf, node } from "./fixtures.ts";

const DOCUMENT = documentOf(BOOKS);

/** Changes from the shop's document to another, as "kind: what". */
function changes(
  after: DocumentSchema,
  { before = DOCUMENT, catalog = SHOP }: { before?: DocumentSchema; catalog?: Catalog } = {},
): string[] {
  const stored = parseDescription(descriptionText(indexDescription(mapDocument(before, SHOP))));
  const mapped = mapDocument(after, catalog);
  return indexChanges(stored ?? assert.fail(), indexDescription(mapped), mapped)
    .map(({ kind, what }) => `${kind}: ${what}`);
}

function root(changed: Partial<NodeSchema>): DocumentSchema {
  return documentOf({ ...BOOKS, ...changed });
}

function transform(changed: Partial<NodeSchema["transform"]>): NodeSchema["transform"] {
  return { ...BOOKS.transform, ...changed };
}

const [publisher, rating, author] = BOOKS.children;
if (publisher === undefined || rating === undefined || author === undefined) throw new Error("no children");

describe("Nothing that matters changed", () => {
  it("where the file was rewritten only", () => {
    assert.deepEqual(changes(DOCUMENT), []);
    assert.deepEqual(
      changes(root({ label: "other", columns: ["title", "id"], children: [author, rating, publisher] })),
      [],
    );
    assert.deepEqual(changes(root({ primaryKey: ["id"], transform: transform({ move: { a: "b" } }) })), []);
  });

  it("where keys stand in another order, or settings are written with their level", () => {
    const before = { ...DOCUMENT, setting: { a: 1, b: 2 }, mapping: { x: { type: "text", index: true } } };
    const after = {
      ...DOCUMENT,
      setting: { index: { b: 2 }, "index.a": 1 },
      mapping: { x: { index: true, type: "text" } },
    };
    assert.deepEqual(changes(after, { before }), []);
  });

  it("where the columns of a table are named instead of taken all", () => {
    const children = [publisher, rating, { ...author, columns: ["name", "id"] }];
    assert.deepEqual(changes(root({ children })), []);
  });
});

describe("The shape changed", () => {
  it("where fields and children came or went; their mappings are not told beside", () => {
    assert.deepEqual(changes(root({ columns: ["id", "shelf"] })), [
      'shape: field "title" removed from "book"',
      'shape: field "shelf" added to "book"',
    ]);
    assert.deepEqual(changes(root({ children: [publisher, { ...rating, label: "reviews" }, author] })), [
      'shape: child "rating" removed from "book"',
      'shape: child "reviews" added to "book"',
    ]);
  });

  it("where a child became a list, an object or a value", () => {
    const relationship = rating.relationship ?? assert.fail();
    const one = { ...rating, relationship: { ...relationship, type: "one_to_one" as const } };
    assert.deepEqual(changes(root({ children: [publisher, one, author] })), [
      'shape: "rating" became an object instead of a list of objects',
    ]);
    const scalar = { ...rating, relationship: { ...relationship, variant: "scalar" as const } };
    assert.deepEqual(changes(root({ children: [publisher, scalar, author] })), [
      'shape: "rating" became a list of values instead of a list of objects',
    ]);
  });

  it("where a value has another form, or the key of the root", () => {
    const other = table("book", { id: "text", title: "int4", publisher_id: "int4" }, {
      key: ["id"],
      references: ["publisher_id -> publisher(id)"],
    });
    const catalog = catalogOf(PUBLISHER, other, RATING, AUTHOR, BOOK_AUTHOR);
    assert.deepEqual(changes(DOCUMENT, { catalog }), [
      "shape: the root's key changed from (int4) to (text)",
      'shape: field "id" of "book" became text instead of int4',
      'shape: field "title" of "book" became int4 instead of text',
    ]);
  });

  it("where mapping, settings, pipeline, routing or plugins did", () => {
    assert.deepEqual(changes(root({ transform: transform({ mapping: { title: { type: "keyword" } } }) })), [
      'shape: mapping of "title" changed from {"fields":{"keyword":{"ignore_above":256,"type":"keyword"}},"type":"text"} to {"type":"keyword"}',
    ]);
    assert.deepEqual(
      changes({ ...DOCUMENT, mapping: { rating: { properties: { value: { type: "byte" } } } } }),
      [
        'shape: mapping of "rating.value" changed from {"ignore_malformed":true,"type":"integer"} to {"type":"byte"}',
      ],
    );
    assert.deepEqual(changes({ ...DOCUMENT, mappings: { dynamic: "strict" } }), [
      'shape: mapping (dynamic) added: "strict"',
    ]);
    assert.deepEqual(
      changes({ ...DOCUMENT, setting: { index: { number_of_shards: 2 } }, pipeline: "p", plugins: ["Hero"] }),
      [
        "shape: setting number_of_shards added: 2",
        'shape: pipeline added: "p"',
        'shape: plugins changed from [] to ["Hero"]',
      ],
    );
  });

  it("where a mapping came beside a value that comes from elsewhere", () => {
    const after = root({
      columns: ["id", "shelf"],
      transform: transform({ rename: { shelf: "title" }, mapping: { extra: { type: "keyword" } } }),
    });
    assert.deepEqual(changes(after), [
      'source: field "title" of "book" comes from column "shelf" instead of "title"',
      'shape: mapping of "extra" added: {"type":"keyword"}',
    ]);
  });
});

describe("Only the sources changed", () => {
  it("where a column was renamed, and the schema file keeps its field", () => {
    const renamed = table("book", { id: "int4", name: "text", publisher_id: "int4" }, {
      key: ["id"],
      references: ["publisher_id -> publisher(id)"],
    });
    const after = root({ columns: ["id", "name"], transform: transform({ rename: { name: "title" } }) });
    assert.deepEqual(
      changes(after, { catalog: catalogOf(PUBLISHER, renamed, RATING, AUTHOR, BOOK_AUTHOR) }),
      [
        'source: field "title" of "book" comes from column "name" instead of "title"',
      ],
    );
  });

  it("where a table or a join is another", () => {
    const review = table("review", { id: "int4", book: "int4", value: "int4" }, {
      key: ["id"],
      references: ["book -> book(id)"],
    });
    const child = node("review", { label: "rating", columns: ["value"], relationship: {} });
    const catalog = catalogOf(PUBLISHER, BOOK, review, AUTHOR, BOOK_AUTHOR);
    assert.deepEqual(changes(root({ children: [publisher, child, author] }), { catalog }), [
      'source: "rating" is read from public.review instead of public.rating',
      'source: "rating" is joined by id = book instead of id = book_id',
    ]);
  });

  it("of a scalar: its first column is the value", () => {
    const scalar = (columns: string[]) => {
      const relationship = { ...rating.relationship ?? assert.fail(), variant: "scalar" as const };
      return root({ children: [{ ...rating, columns, relationship }] });
    };
    assert.deepEqual(changes(scalar(["value", "id"]), { before: scalar(["value", "note"]) }), []);
    assert.deepEqual(changes(scalar(["id"]), { before: scalar(["value"]) }), [
      'source: the value of "rating" comes from column "id" instead of "value"',
    ]);
  });
});

describe("The changes told", () => {
  it("have their places, and do not go on for ever", () => {
    const columns = Array.from({ length: 14 }, (_, at) => `c${at}`);
    const wide = table("wide", Object.fromEntries(["id", ...columns].map((name) => [name, "text"])), {
      key: ["id"],
    });
    const mapped = mapDocument(documentOf(node("wide")), catalogOf(wide));
    const narrow = mapDocument(documentOf(node("wide", { columns: ["id"] })), catalogOf(wide));
    const text = describeChanges(indexChanges(indexDescription(narrow), indexDescription(mapped), mapped));
    assert.match(
      text,
      /^field "c0" added to "wide", at schema\.yaml:3:5 \(.+\); .*field "c9" .*; and 4 more$/,
    );
  });

  it("cannot be read from what somebody else wrote", () => {
    for (const text of ["", "{", "{}", '{"root":1}']) assert.equal(parseDescription(text), null);
  });
});
