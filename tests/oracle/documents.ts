/**
 * The documents that an index must hold, made by nested loops over whole tables. Slow and simple on purpose, and
 * independent: it reads the schema file's tree and shares nothing with src/mapping.
 */
import type postgres from "postgres";
import type { DocumentSchema, NodeSchema, QualifiedName } from "../../src/schema/tree.ts";
import { Digits, type Exact, isList, isObject } from "../../scripts/demo/digits.ts";
import { type Cell, identity, readTable, type Row, type Table } from "./tables.ts";

/** Equal columns, as pairs. */
type Pairs = readonly (readonly [left: string, right: string])[];

/**
 * All documents of one entry of the schema file by their ids, made of the tables as they are now.
 *
 * @param sql a session in which nobody else has changed how values print
 */
export async function expectedDocuments(
  sql: postgres.Sql,
  document: DocumentSchema,
): Promise<Map<string, Exact>> {
  return await sql.begin("isolation level repeatable read read only", async (transaction) => {
    await transaction.unsafe(
      `set local timezone = 'UTC'; set local datestyle = 'ISO'; set local intervalstyle = 'postgres';
       set local extra_float_digits = 1; set local bytea_output = 'hex';
       set local quote_all_identifiers = off`,
    );
    const tables = new Map<string, Table>();
    for (const { name, givenKey } of namesIn(document.root)) {
      const key = keyOf(name);
      if (!tables.has(key)) tables.set(key, await readTable(transaction, name, givenKey));
    }
    return new Builder(tables).documents(document.root);
  });
}

/** The tables of a node and those below it, with the key that the schema file gives to what has none. */
function namesIn(node: NodeSchema): { readonly name: QualifiedName; readonly givenKey: readonly string[] }[] {
  const through = (node.relationship?.throughTables ?? []).map((name) => ({ name, givenKey: [] }));
  return [{ name: node, givenKey: node.primaryKey }, ...through, ...node.children.flatMap(namesIn)];
}

function keyOf({ schema, table }: QualifiedName): string {
  return JSON.stringify([schema, table]);
}

class Builder {
  readonly #lookups = new Map<string, Map<string, Row[]>>();

  constructor(private readonly tables: ReadonlyMap<string, Table>) {}

  documents(root: NodeSchema): Map<string, Exact> {
    const table = this.#table(root);
    const key = table.primaryKey.toSorted();
    const documents = new Map<string, Exact>();
    for (const row of table.rows) {
      // A view may have rows without a whole key, which are no documents, and several with one, of which the first is.
      if (!table.hasOwnKey && key.some((column) => cellOf(row, column).text === null)) continue;
      const id = idOf(key.map((column) => cellOf(row, column).text ?? ""));
      if (documents.has(id) && !table.hasOwnKey) continue;
      if (documents.has(id)) throw new Error(`two rows of ${root.table} have the id ${id}`);
      documents.set(id, this.#value(root, row));
    }
    return documents;
  }

  #value(node: NodeSchema, row: Row): Exact {
    const table = this.#table(node);
    const columns = node.columns.length > 0 ? node.columns : table.columns;
    if (node.relationship?.variant === "scalar") return valueAt(row, columns[0] ?? "").value;
    const object: Record<string, Exact> = {};
    for (const text of columns) {
      const { field, value } = valueAt(row, text);
      const renamed = Object.hasOwn(node.transform.rename, field) ? node.transform.rename[field] : undefined;
      const name = typeof renamed === "string" ? renamed : field;
      object[name] = value;
    }
    for (const child of node.children) object[child.label] = this.#children(child, node, row);
    return object;
  }

  #children(child: NodeSchema, parent: NodeSchema, row: Row): Exact {
    const through = child.relationship?.throughTables[0];
    const found = through === undefined
      ? this.#equal(child, row, parent, this.#pairs(parent, child))
      : this.#far(child, parent, through, row);
    const values = found.map((far) => this.#value(child, far));
    const many = child.relationship?.type === "one_to_many" || through !== undefined;
    if (many) return values.length === 0 ? null : values;
    return values[0] ?? null;
  }

  /** The rows on the far side of a link table, once for each link row, in their own table's order. */
  #far(child: NodeSchema, parent: NodeSchema, through: QualifiedName, row: Row): Row[] {
    const table = this.#table(through);
    const toParent = only(keysTo(table, parent), `${keyOf(through)} and ${keyOf(parent)}`);
    const toChild = only(keysTo(table, child), `${keyOf(through)} and ${keyOf(child)}`);
    const linked = this.#equal(through, row, parent, flipped(toParent));
    const far = linked.flatMap((link) => this.#equal(child, link, through, toChild));
    const order = this.#table(child).rows;
    const places = new Map(order.map((found, place) => [found, place]));
    return far.toSorted((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0));
  }

  /** [parent's column, child's column], by the schema file or else by the foreign key in either direction. */
  #pairs(parent: NodeSchema, child: NodeSchema): Pairs {
    const given = child.relationship?.foreignKey ?? null;
    if (given !== null) return given.parent.map((column, index) => [column, given.child[index] ?? ""]);
    const down = keysTo(this.#table(child), parent).map(flipped);
    // Between a table and itself the children are the rows that refer to the parent.
    const up = keyOf(parent) === keyOf(child) ? [] : keysTo(this.#table(parent), child);
    return only([...down, ...up], `${keyOf(child)} and ${keyOf(parent)}`);
  }

  /** The rows of a table whose right columns equal the left ones of a row of another. */
  #equal(name: QualifiedName, row: Row, of: QualifiedName, pairs: Pairs): readonly Row[] {
    const [table, other] = [this.#table(name), this.#table(of)];
    const lefts = pairs.map(([left, right]) => ({ column: left, other: typeOf(table, right) }));
    const rights = pairs.map(([left, right]) => ({ column: right, other: typeOf(other, left) }));
    const wanted = identityOf(row, lefts);
    if (wanted === null) return [];
    const lookupKey = JSON.stringify([keyOf(name), rights]);
    let lookup = this.#lookups.get(lookupKey);
    if (lookup === undefined) {
      lookup = new Map();
      for (const candidate of table.rows) {
        const found = identityOf(candidate, rights);
        if (found === null) continue;
        const list = lookup.get(found);
        if (list === undefined) lookup.set(found, [candidate]);
        else list.push(candidate);
      }
      this.#lookups.set(lookupKey, lookup);
    }
    return lookup.get(wanted) ?? [];
  }

  #table(name: QualifiedName): Table {
    const table = this.tables.get(keyOf(name));
    if (table === undefined) throw new Error(`table ${keyOf(name)} was not read`);
    return table;
  }
}

/** [own column, target's column] of the foreign keys of a table to another; several over the same pairs are one. */
function keysTo(table: Table, target: QualifiedName): Pairs[] {
  const found = table.foreignKeys.filter((key) => keyOf(key.target) === keyOf(target))
    .map((key): Pairs => key.columns.map((column, index) => [column, key.targetColumns[index] ?? ""]));
  return [...new Map(found.map((pairs) => [JSON.stringify(pairs.toSorted()), pairs])).values()];
}

function flipped(pairs: Pairs): Pairs {
  return pairs.map(([left, right]) => [right, left]);
}

function only(found: readonly Pairs[], between: string): Pairs {
  const [first, ...others] = found;
  if (first === undefined || others.length > 0) {
    throw new Error(`${found.length} foreign keys join ${between}`);
  }
  return first;
}

/** @param columns each with the type of the column that it is compared with */
function identityOf(
  row: Row,
  columns: readonly { readonly column: string; readonly other: string }[],
): string | null {
  const parts = columns.map(({ column, other }) => identity(cellOf(row, column), other));
  return parts.includes(null) ? null : JSON.stringify(parts);
}

function typeOf(table: Table, column: string): string {
  const type = table.types.get(column);
  if (type === undefined) throw new Error(`no column ${column}`);
  return type;
}

function cellOf(row: Row, column: string): Cell {
  const cell = row.get(column);
  if (cell === undefined) throw new Error(`no column ${column}`);
  return cell;
}

/** As PGSync joins them; where a value of several holds `|`, that and `\` are escaped with `\` in all. */
function idOf(values: readonly string[]): string {
  const [only] = values;
  if (values.length === 1 && only !== undefined) return only;
  const ambiguous = values.some((value) => value.includes("|"));
  return values.map((value) => ambiguous ? value.replace(/[\\|]/g, (found) => `\\${found}`) : value).join(
    "|",
  );
}

/** A column, or what a path leads to inside a JSON column: `doc->a->0`, `doc->>a`, `doc#>{a,b}`, `doc#>>{a,b}`. */
function valueAt(row: Row, text: string): { readonly field: string; readonly value: Exact } {
  const [, column = "", operator = "", rest = ""] = /^(.*?)(?:(->>?|#>>?)(.*))?$/s.exec(text) ?? [];
  const whole = cellOf(row, column).json;
  if (operator === "") return { field: column, value: whole };
  if (operator.startsWith("#")) {
    const keys = rest.replace(/^\{|\}$/g, "");
    const value = keys.split(",").reduce<Exact>((inner, key) => stepInto(inner, key), whole);
    return { field: `${column}_${keys}`, value: operator === "#>>" ? asText(value) : value };
  }
  const steps = `${operator}${rest}`.split(/->>?/).slice(1);
  // After `->` digits are a position, never a key; after `#>` they may be either.
  const value = steps.reduce<Exact>(
    (inner, step) => isObject(inner) && isPosition(step) ? null : stepInto(inner, step),
    whole,
  );
  return { field: [column, ...steps].join("_"), value: text.includes("->>") ? asText(value) : value };
}

function stepInto(value: Exact, step: string): Exact {
  if (isList(value)) return isPosition(step) ? value[Number(step)] ?? null : null;
  return isObject(value) && Object.hasOwn(value, step) ? value[step] ?? null : null;
}

function isPosition(step: string): boolean {
  return /^\d+$/.test(step);
}

function asText(value: Exact): Exact {
  if (value === null || typeof value === "string") return value;
  if (value instanceof Digits) return value.text;
  if (typeof value === "boolean") return String(value);
  if (isList(value)) return `[${value.map(jsonbText).join(", ")}]`;
  return `{${
    Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${jsonbText(inner)}`).join(", ")
  }}`;
}

function jsonbText(value: Exact): string {
  if (value === null) return "null";
  return typeof value === "string" ? JSON.stringify(value) : String(asText(value));
}
