import { columnsNamed } from "../catalog/columns.ts";
import type { Catalog, Column, Relation } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import type { DocumentSchema, JsonObject, NodeSchema } from "../schema/tree.ts";
import { didYouMean } from "../schema/suggest.ts";
import { type Field, fieldOfChild, formatPlace, nodeFields, renamesOfChild } from "./fields.ts";
import { type Link, resolveLink } from "./links.ts";
import { type BaseTable, baseTables } from "./view_sources.ts";

/** A node of the schema file, joined to the table it names. */
export interface MappedNode {
  /** Labels from the root, joined with dots; the root is its table's name. */
  readonly path: string;
  /** The table's alias in SQL: `n0` for the root, then in the order of the file. */
  readonly alias: string;
  readonly schema: NodeSchema;
  readonly relation: Relation;
  /** The field under which it stands in its parent's object. */
  readonly field: string;
  readonly parent: MappedNode | null;
  /** How it is joined to its parent; null at the root only. */
  readonly link: Link | null;
  /** The tables whose changes matter, where the relation is a plain view. */
  readonly baseTables: readonly BaseTable[];
  /** What is emitted of its own columns. */
  readonly fields: readonly Field[];
  readonly children: readonly MappedNode[];
}

/** A document of the schema file, joined to the tables it is built from. */
export interface MappedDocument {
  readonly schema: DocumentSchema;
  readonly root: MappedNode;
  /** The root key: the root table's primary key, ordered by column name as PGSync orders it for `_id`. */
  readonly key: readonly Column[];
  /** All nodes, each before its children. */
  readonly nodes: readonly MappedNode[];
}

/**
 * Joins a document of the schema file to the catalog.
 *
 * @throws PgsyncError TABLE_MISSING, COLUMN_MISSING, PRIMARY_KEY_MISSING, FOREIGN_KEY_MISSING, FOREIGN_KEY_AMBIGUOUS,
 * SCHEMA_UNSUPPORTED (foreign tables)
 */
export function mapDocument(document: DocumentSchema, catalog: Catalog): MappedDocument {
  const nodes: MappedNode[] = [];

  /** @param rename the renames that hold for the node; @param field where it stands in its parent */
  const mapNode = (
    schema: NodeSchema,
    parent: MappedNode | null,
    field: string,
    rename: JsonObject,
  ): MappedNode => {
    const relation = findRelation(schema, catalog);
    const children: MappedNode[] = [];
    const node: MappedNode = {
      path: parent === null
        ? schema.table
        : parent.parent === null
        ? schema.label
        : `${parent.path}.${schema.label}`,
      alias: `n${nodes.length}`,
      schema,
      relation,
      field,
      parent,
      link: parent === null ? null : resolveLink(parent.relation, relation, schema, catalog),
      baseTables: baseTables(schema, relation, catalog),
      fields: nodeFields(schema, relation, rename),
      children,
    };
    nodes.push(node);
    for (const child of schema.children) {
      children.push(mapNode(child, node, fieldOfChild(schema, child, rename), renamesOfChild(rename, child)));
    }
    return node;
  };

  const root = mapNode(document.root, null, document.root.label, document.root.transform.rename);
  return { schema: document, root, key: rootKey(root), nodes };
}

function findRelation(node: NodeSchema, catalog: Catalog): Relation {
  const relation = catalog.relation(node);
  const place = formatPlace(node.place);
  if (relation === null) {
    throw new PgsyncError(
      "TABLE_MISSING",
      `Table "${node.schema}"."${node.table}" does not exist in database ${catalog.server.database}, but ${place} names it.`,
    );
  }
  if (relation.kind === "foreign table") {
    throw new PgsyncError(
      "SCHEMA_UNSUPPORTED",
      `"${node.schema}"."${node.table}" at ${place} is a foreign table, whose changes PostgreSQL does not stream.`,
      { remedy: "Make a materialised view of it, and name that in the schema file." },
    );
  }
  return isView(relation) ? withGivenKey(relation, node) : relation;
}

/** Whether a relation is a view, plain or materialised. */
export function isView(relation: Relation): boolean {
  return relation.kind === "view" || relation.kind === "materialized view";
}

/**
 * Whether PostgreSQL itself sees to it that no two rows have the same key. A view's key is only what the schema file says;
 * a unique index of a materialised view holds for keys without NULL, and others give no document.
 */
export function keyIsUnique(relation: Relation): boolean {
  return !isView(relation) ||
    relation.uniqueIndexes.some((index) => index.columns.every((name) => relation.primaryKey.includes(name)));
}

/** Types that PostgreSQL does not compare, or by something else than their value. */
const NO_KEYS = new Set(["json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle"]);

/** A view with the key that the schema file gives it. */
function withGivenKey(relation: Relation, node: NodeSchema): Relation {
  const place = formatPlace(node.place);
  const primaryKey = [...new Set(node.primaryKey)];
  for (const name of primaryKey) {
    const column = relation.columns.find((candidate) => candidate.name === name);
    if (column === undefined) {
      const guess = didYouMean(name, relation.columns.map((candidate) => candidate.name));
      throw new PgsyncError(
        "COLUMN_MISSING",
        `View "${node.schema}"."${node.table}" has no column "${name}", which primary_key at ${place} names${
          guess || "."
        }`,
      );
    }
    if (NO_KEYS.has(column.type.name)) {
      throw new PgsyncError(
        "SCHEMA_INVALID",
        `primary_key at ${place} names "${name}" of type ${column.type.sql}, by which rows cannot be told apart.`,
        { remedy: "Name other columns." },
      );
    }
  }
  return { ...relation, primaryKey };
}

function rootKey(root: MappedNode): readonly Column[] {
  const { relation } = root;
  if (relation.primaryKey.length === 0 && isView(relation)) {
    throw new PgsyncError(
      "PRIMARY_KEY_MISSING",
      `View "${relation.schema}"."${relation.table}" at ${
        formatPlace(root.schema.place)
      } is the root of a document, but the schema file names no columns to make the _id of.`,
      { remedy: `Name them in the schema file, as primary_key: ["${relation.columns[0]?.name ?? "id"}"].` },
    );
  }
  if (relation.primaryKey.length === 0) {
    throw new PgsyncError(
      "PRIMARY_KEY_MISSING",
      `Table "${relation.schema}"."${relation.table}" is the root of a document, but has no primary key to make the _id of.`,
    );
  }
  return columnsNamed(relation, relation.primaryKey).toSorted((a, b) => compareCodePoints(a.name, b.name));
}

/** Python sorts strings by code point; JavaScript's default order, by UTF-16 unit, differs beyond U+FFFF. */
function compareCodePoints(a: string, b: string): number {
  const left = Array.from(a);
  const right = Array.from(b);
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
