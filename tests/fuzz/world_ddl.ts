/** The statements that make a world's tables. */
import { chance, type Random, shuffled } from "../support/random.ts";
import {
  type ColumnDraft,
  type Graph,
  qualified,
  quote,
  type ReferenceDraft,
  type TableDraft,
} from "./world_drafts.ts";
import { insertable } from "./world_references.ts";

/** Each a statement of its own, in order. */
export function statements(random: Random, graph: Graph): string[] {
  const tables = insertable(graph).filter((table) => table.view === null);
  return [
    ...graph.schemas.filter((schema) => schema !== "public").map((schema) =>
      `CREATE SCHEMA ${quote(schema)}`
    ),
    ...graph.types,
    ...tables.flatMap((table) => tableStatements(random, table)),
    ...graph.references.flatMap((reference) => referenceStatements(random, reference)),
    ...graph.tables.flatMap(viewStatements),
  ];
}

function tableStatements(random: Random, table: TableDraft): string[] {
  const { partitions, replicaIdentity } = table;
  const name = qualified(table);
  const keys = [
    ...(table.primaryKey.length > 0 ? [`PRIMARY KEY (${list(table.primaryKey)})`] : []),
    ...table.uniques.map((columns) => `UNIQUE (${list(columns)})`),
  ];
  const parts = [...table.columns.map(columnDefinition), ...keys].map((part) => `\n  ${part}`);
  const divided = partitions === null
    ? ""
    : ` PARTITION BY ${partitions.strategy.toUpperCase()} (${quote(partitions.column.name)})`;
  return [
    `CREATE TABLE ${name} (${parts.join(",")}\n)${divided}`,
    ...(partitions === null ? [] : partitionStatements(random, table)),
    ...table.columns.filter((column) => column.external)
      .map((column) => `ALTER TABLE ${name} ALTER COLUMN ${quote(column.name)} SET STORAGE EXTERNAL`),
    ...(replicaIdentity === null ? [] : [`ALTER TABLE ${name} REPLICA IDENTITY ${replicaIdentity}`]),
  ];
}

function viewStatements(table: TableDraft): string[] {
  const { view, primaryKey } = table;
  if (view === null) return [];
  const name = qualified(table);
  if (!view.materialized) return [`CREATE VIEW ${name} AS ${view.query}`];
  return [
    `CREATE MATERIALIZED VIEW ${name} AS ${view.query}`,
    ...(isConcurrent(table) ? [`CREATE UNIQUE INDEX ON ${name} (${list(primaryKey)})`] : []),
  ];
}

/** Whether it is a materialised view with a unique index, which a refresh beside its readers needs. */
export function isConcurrent({ view, primaryKey }: TableDraft): boolean {
  return view !== null && view.materialized && view.keyIsUnique && primaryKey.length > 0;
}

/** The name of a partition by its place. */
export function partitionName(table: TableDraft, at: number): string {
  return `${table.name.slice(0, 40)} p${at}`;
}

function columnDefinition(column: ColumnDraft): string {
  const generated = column.generated === null ? "" : ` GENERATED ALWAYS AS (${column.generated}) STORED`;
  return `${quote(column.name)} ${column.sql}${column.notNull ? " NOT NULL" : ""}${generated}`;
}

function partitionStatements(random: Random, table: TableDraft): string[] {
  const { partitions } = table;
  if (partitions === null) return [];
  const name = qualified(table);
  const { column, bounds, attached, subdivided } = partitions;
  return bounds.flatMap((bound, at) => {
    const own = partitionName(table, at);
    const part = qualified({ schema: table.schema, name: own });
    if (attached && at === 0) {
      const columns = shuffled(random, table.columns).map((one) => `\n  ${columnDefinition(one)}`);
      return [
        `CREATE TABLE ${part} (${columns.join(",")}\n)`,
        `ALTER TABLE ${name} ATTACH PARTITION ${part} ${bound}`,
      ];
    }
    if (!subdivided || at < bounds.length - 1) return [`CREATE TABLE ${part} PARTITION OF ${name} ${bound}`];
    return [
      `CREATE TABLE ${part} PARTITION OF ${name} ${bound} PARTITION BY HASH (${quote(column.name)})`,
      ...[0, 1].map((remainder) =>
        `CREATE TABLE ${
          qualified({ schema: table.schema, name: `${own} h${remainder}` })
        } PARTITION OF ${part} ` +
        `FOR VALUES WITH (MODULUS 2, REMAINDER ${remainder})`
      ),
    ];
  });
}

function referenceStatements(random: Random, reference: ReferenceDraft): string[] {
  const { from, columns, target, targetColumns, constraint, indexed } = reference;
  const result: string[] = [];
  if (constraint !== null) {
    const { onDelete, onUpdate, deferrable } = constraint;
    const deferred = deferrable
      ? ` DEFERRABLE INITIALLY ${chance(random, 50) ? "DEFERRED" : "IMMEDIATE"}`
      : "";
    result.push(
      `ALTER TABLE ${qualified(from)} ADD FOREIGN KEY (${list(columns)}) REFERENCES ${qualified(target)} ` +
        `(${list(targetColumns)}) ON DELETE ${onDelete} ON UPDATE ${onUpdate}${deferred}`,
    );
  }
  if (indexed) result.push(`CREATE INDEX ON ${qualified(from)} (${list(columns)})`);
  return result;
}

function list(columns: readonly ColumnDraft[]): string {
  return columns.map((column) => quote(column.name)).join(", ");
}
