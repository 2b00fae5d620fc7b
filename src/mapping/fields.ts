import type { ColumnType, Relation } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import { type ColumnExpression, parseColumn } from "../schema/column_path.ts";
import { didYouMean } from "../schema/suggest.ts";
import type { JsonObject, NodeSchema, Place } from "../schema/tree.ts";

/** A field that a node's own columns give to its object. */
export interface Field {
  /** Its name in the document, after `transform.rename`. */
  readonly name: string;
  readonly column: string;
  /** The column's type; of `xmin` it is `xid`, which documents hold as a number. */
  readonly type: ColumnType;
  /** The way into a JSON column; empty for the whole column. */
  readonly steps: ColumnExpression["steps"];
  readonly operator: ColumnExpression["operator"];
  /** The value at the end of the steps is wanted as text. */
  readonly asText: boolean;
}

/** The system column that may be named: the id of the transaction that wrote the row. */
const XMIN: ColumnType = {
  oid: 28,
  name: "xid",
  sql: "xid",
  category: "base",
  element: null,
  equalityIsIdentity: true,
};

/**
 * Lists what is emitted of a node's own columns, in order: the columns that the schema file names, or all of the
 * table. A child's label beats a column that would stand under the same name; of two fields with one name the
 * last counts.
 *
 * @param rename the renames that hold for the node: its own, or those that `renamesOfChild` found at its parent
 * @throws {PgsyncError} COLUMN_MISSING where the table has no such column; SCHEMA_INVALID where a path leads into
 *   a column that holds no JSON, or an entry cannot be read
 */
export function nodeFields(
  node: NodeSchema,
  relation: Relation,
  rename: JsonObject = node.transform.rename,
): readonly Field[] {
  const names = node.columns.length > 0
    ? node.columns.map((text) => parseColumn(text))
    : allColumns(relation);
  const labels = new Set(node.children.flatMap((child) => [child.label, fieldOfChild(node, child, rename)]));
  const fields = new Map<string, Field>();
  for (const expression of names) {
    if (labels.has(expression.field)) continue;
    const name = renamed(rename, expression.field);
    if (labels.has(name)) continue;
    const type = typeOfColumn(node, relation, expression);
    // A name that is given again moves to the end: the order is that of the last mention.
    fields.delete(name);
    const { column, steps, operator, asText } = expression;
    fields.set(name, { name, column, type, steps, operator, asText });
  }
  return [...fields.values()];
}

/**
 * The field under which a child stands in its parent's object: its label, which the parent's `rename` may change.
 * A child with renames of its own keeps its label (PGSync looks both up under one key, and the child's wins).
 *
 * @param rename the renames that hold for the parent
 */
export function fieldOfChild(
  parent: NodeSchema,
  child: NodeSchema,
  rename: JsonObject = parent.transform.rename,
): string {
  return isEmpty(child.transform.rename) ? renamed(rename, child.label) : child.label;
}

/**
 * The renames that hold for a child: its own, else those that stand under its label at the parent.
 *
 * @param rename the renames that hold for the parent
 */
export function renamesOfChild(rename: JsonObject, child: NodeSchema): JsonObject {
  if (!isEmpty(child.transform.rename)) return child.transform.rename;
  const inherited = Object.hasOwn(rename, child.label) ? rename[child.label] : undefined;
  return typeof inherited === "object" && inherited !== null && !Array.isArray(inherited) ? inherited : {};
}

/** Prints a place as `schema.yaml:12:5 ([0].nodes.children[1])`. */
export function formatPlace({ file, line, column, path }: Place): string {
  return `${file}:${line}:${column} (${path})`;
}

/** A relation's name as it stands in messages. */
export function formatName({ schema, table }: { readonly schema: string; readonly table: string }): string {
  return `"${schema}"."${table}"`;
}

function allColumns(relation: Relation): ColumnExpression[] {
  return relation.columns.map(({ name }) => ({
    text: name,
    column: name,
    steps: [],
    operator: null,
    asText: false,
    field: name,
  }));
}

function renamed(rename: JsonObject, field: string): string {
  // A column may be called `constructor`: only what the file itself holds counts.
  const name = Object.hasOwn(rename, field) ? rename[field] : undefined;
  return typeof name === "string" || typeof name === "number" ? String(name) : field;
}

function typeOfColumn(
  node: NodeSchema,
  relation: Relation,
  { text, column, steps }: ColumnExpression,
): ColumnType {
  const found = relation.columns.find((candidate) => candidate.name === column)?.type ??
    // A plain view has no system columns, and a materialised one loses them with its key's check.
    (column === "xmin" && relation.view === undefined ? XMIN : undefined);
  if (found === undefined) {
    const guess = didYouMean(column, relation.columns.map((candidate) => candidate.name));
    throw new PgsyncError(
      "COLUMN_MISSING",
      `Table ${formatName(relation)} has no column "${column}", which ${
        formatPlace(node.place)
      } names${guess}`,
    );
  }
  if (steps.length > 0 && found.name !== "json" && found.name !== "jsonb") {
    throw new PgsyncError(
      "SCHEMA_INVALID",
      `${formatPlace(node.place)}: "${text}" leads into column "${column}" of ${formatName(relation)}, ` +
        `which holds ${found.sql} and no JSON.`,
    );
  }
  return found;
}

function isEmpty(object: JsonObject): boolean {
  return Object.keys(object).length === 0;
}
