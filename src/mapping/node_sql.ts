import type { Relation } from "../catalog/types.ts";
import { quoteIdentifier, quoteLiteral } from "../postgres/quote.ts";
import type { Side } from "./equal_sql.ts";
import type { Field } from "./fields.ts";
import { type Member, normalisedJsonSql, objectSql } from "./json_sql.ts";
import { isView, type MappedNode } from "./tree.ts";

/** A node's value in its parent: an object of its fields and children, or its first column alone. */
export function valueSql(node: MappedNode, childValue: (child: MappedNode) => string): string {
  const [first] = node.fields;
  if (node.schema.relationship?.variant === "scalar" && first !== undefined) return fieldSql(node, first);
  const members: Member[] = [
    ...node.fields.map((field) => ({ name: field.name, sql: fieldSql(node, field) })),
    ...node.children.map((child) => ({ name: child.field, sql: childValue(child) })),
  ];
  return objectSql(members);
}

/** An edge that can hold several children gives an array; so does every link table, as in PGSync. */
export function isArray(child: MappedNode): boolean {
  return child.schema.relationship?.type === "one_to_many" || child.link?.kind === "through";
}

function fieldSql(node: MappedNode, field: Field): string {
  const column = columnSql(node, field.column);
  if (field.column === "xmin") return `${column}::pg_catalog.text::pg_catalog.int8`;
  const value = field.steps.length === 0 ? column : `(${pathSql(column, field)})`;
  const isJson = field.type.name === "json" && !(field.asText && field.steps.length > 0);
  return isJson ? normalisedJsonSql(value) : value;
}

/** The way into a JSON column, with the operators of the schema file. */
function pathSql(column: string, field: Field): string {
  if (field.operator === "#>") {
    const keys = field.steps.map((step) => quoteLiteral(String(step.value))).join(", ");
    return `${column} ${field.asText ? "#>>" : "#>"} ARRAY[${keys}]::pg_catalog.text[]`;
  }
  return field.steps.reduce((value, step, index) => {
    const operator = field.asText && index === field.steps.length - 1 ? "->>" : "->";
    const key = step.kind === "index" ? String(step.value) : `${quoteLiteral(step.value)}::pg_catalog.text`;
    return `${value} ${operator} ${key}`;
  }, column);
}

/**
 * Children stand in the order of their primary key, and of the link's where a far row is linked twice. Without a key, and
 * for views, whose key nobody enforces, the texts of all columns decide.
 */
export function orderSql(child: MappedNode): string {
  const { primaryKey } = child.relation;
  const own = primaryKey.map((column) => columnSql(child, column));
  if (primaryKey.length === 0 || isView(child.relation)) own.push(...rowTextsSql(child));
  if (child.link?.kind !== "through") return own.join(", ");
  const through = throughAlias(child);
  return [...own, ...child.link.table.primaryKey.map((column) => `${through}.${quoteIdentifier(column)}`)]
    .join(", ");
}

/** The texts of all columns of a row: rows that agree in them are the same to a document. */
export function rowTextsSql(node: MappedNode): string[] {
  return node.relation.columns.map((column) => `${columnSql(node, column.name)}::pg_catalog.text`);
}

export function side(relation: Relation, alias: string, column: string): Side {
  return { relation, column, sql: `${alias}.${quoteIdentifier(column)}` };
}

/** A column of a node's table, by its alias. */
export function columnSql(node: MappedNode, column: string): string {
  return `${node.alias}.${quoteIdentifier(column)}`;
}

/** The alias of the link table between a node and its parent. */
export function throughAlias(child: MappedNode): string {
  return `l${child.alias}`;
}
