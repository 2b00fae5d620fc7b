/** A small shop's tables, the document of its books, and changes of its rows as the stream brings them. */
import { Buffer } from "node:buffer";
import type { Catalog, Relation as TableRelation } from "../../src/catalog/types.ts";
import { mapDocument, type MappedDocument } from "../../src/mapping/tree.ts";
import type { Relation, ReplicaIdentity } from "../../src/replication/pgoutput_types.ts";
import { NOT_SENT, NULL_VALUE, Tuple } from "../../src/replication/tuple.ts";
import type { DocumentSchema, NodeSchema } from "../../src/schema/tree.ts";
import { catalogOf, type Keys, node, PLACE, relation } from "../mapping/fixtures.ts";

let nextOid = 1000;

/** A table with an oid and one heap of its own. */
export function table(
  name: string,
  columns: Readonly<Record<string, string>>,
  keys: Keys = {},
): TableRelation {
  const made = { ...relation(name, columns, keys), oid: nextOid++ };
  return withIdentity(made, made.primaryKey);
}

/** The same table with an identity that carries these columns. */
export function withIdentity(table: TableRelation, columns: readonly string[]): TableRelation {
  const replicaIdentity = {
    kind: columns.length === table.columns.length ? "full" as const : "default" as const,
    columns,
  };
  const heap = {
    schema: table.schema,
    table: table.table,
    oid: table.oid,
    filenode: table.oid,
    pages: 0,
    estimatedRows: 0,
    replicaIdentity,
    tidRange: true,
  };
  return { ...table, replicaIdentity, heaps: [heap] };
}

export const PUBLISHER = table("publisher", { id: "int4", name: "text", country: "text" }, { key: ["id"] });
export const BOOK = table("book", { id: "int4", title: "text", publisher_id: "int4", shelf: "text" }, {
  key: ["id"],
  references: ["publisher_id -> publisher(id)"],
});
export const RATING = table("rating", { id: "int4", book_id: "int4", value: "int4", note: "text" }, {
  key: ["id"],
  references: ["book_id -> book(id)"],
});
export const AUTHOR = table("author", { id: "int4", name: "text" }, { key: ["id"] });
export const BOOK_AUTHOR = table("book_author", { book_id: "int4", author_id: "int4" }, {
  key: ["book_id", "author_id"],
  references: ["book_id -> book(id)", "author_id -> author(id)"],
});
export const SHOP: Catalog = catalogOf(PUBLISHER, BOOK, RATING, AUTHOR, BOOK_AUTHOR);

/** A document with this root, mapped. */
export function mapped(root: NodeSchema, catalog: Catalog = SHOP): MappedDocument {
  return mapDocument(documentOf(root), catalog);
}

/** An entry of the schema file. */
export function documentOf(root: NodeSchema): DocumentSchema {
  return {
    database: "shop",
    index: root.table,
    root,
    plugins: [],
    pipeline: null,
    routing: null,
    setting: null,
    mapping: null,
    mappings: null,
    place: PLACE,
  };
}

/** book with publisher, ratings and authors. */
export const BOOKS: NodeSchema = node("book", {
  columns: ["id", "title"],
  children: [
    node("publisher", { columns: ["name"], relationship: { type: "one_to_one" } }),
    node("rating", { columns: ["value"], relationship: {} }),
    node("author", { relationship: { throughTables: [{ schema: "public", table: "book_author" }] } }),
  ],
});

/** A table as the stream describes it. */
export function streamed(
  table: TableRelation,
  replicaIdentity: ReplicaIdentity = "default",
  keyColumns: readonly string[] = table.primaryKey,
): Relation {
  return {
    kind: "relation",
    relationId: table.oid,
    schema: table.schema,
    table: table.table,
    replicaIdentity,
    columns: table.columns.map(({ name, type }) => ({
      name,
      typeOid: type.oid,
      typeModifier: -1,
      isKey: replicaIdentity === "full" || keyColumns.includes(name),
    })),
  };
}

/** A row: texts, null, or undefined for a value that was not sent. */
export function row(...values: readonly (string | null | undefined)[]): Tuple {
  const parts: Buffer[] = [];
  let length = 0;
  const offsets = values.map((value) => {
    if (value === null) return NULL_VALUE;
    if (value === undefined) return NOT_SENT;
    const text = Buffer.from(value);
    const size = Buffer.alloc(4);
    size.writeInt32BE(text.length);
    parts.push(size, text);
    length += 4 + text.length;
    return length - text.length;
  });
  return new Tuple(Buffer.concat(parts), offsets);
}
