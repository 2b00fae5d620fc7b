/**
 * What somebody does to a table beside its rows: its columns, types and keys, its partitions, its place in the publication. Only what
 * a run goes on with; what halts it by a named error has tests of its own (tests/integration/ddl.test.ts).
 */
import type { Random } from "../../examples/bookshop/random.ts";
import { quote, type TableSql } from "./table_sql.ts";
import type { Statement } from "./work.ts";
import type { World, WorldMaterialized } from "./world.ts";

/** A kind of change: statements that belong together, or null where the table has no place for it. */
export type TableChange = (table: TableSql) => readonly Statement[] | null;

/** A type that a column of this one may be given, and back again. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  int: ["bigint", "int"],
  smallint: ["int", "smallint"],
  bigint: ["bigint"],
  text: ["varchar", "text"],
  "varchar(20)": ["varchar(30)", "text"],
  "numeric(80,20)": ["numeric(80,21)", "numeric(81,20)"],
};
/** The same type with other values. */
const REWRITES: Readonly<Record<string, (column: string) => string>> = {
  int: (column) => `-(${column} + 1)`,
  text: (column) => `upper(${column}) || 'x'`,
  timestamp: (column) => `${column} - interval '1 day'`,
  bool: (column) => `NOT ${column}`,
};

/**
 * A column that a view, a generated column or a partition's bound is made of; types that do not fit. Beside an enum in a foreign key
 * PostgreSQL says "could not find cast" (XX000).
 */
const TYPE_ERRORS = ["0A000", "42601", "42P16", "42804", "XX000"];
/** Others need the key. */
const KEY_ERRORS = ["2BP01", "0A000", "42P16"];
/** Nothing of that name, not its partition, or already; bounds that overlap; columns that it lacks; others need it. */
const PARTITION_ERRORS = ["42P01", "42809", "42P17", "42P07", "42804", "2BP01", "42P16", "55000"];
/** The run has not made it yet, or the table is none of its own; two who alter it at once. */
const PUBLICATION_ERRORS = ["42704", "42710", "XX000"];

/** Makes changes of tables; every choice comes from `random`. */
export class TableChanges {
  constructor(private readonly world: World, private readonly random: Random) {}

  /** Each kind as often as it should come, all together 1. */
  get kinds(): readonly (readonly [number, TableChange])[] {
    return [
      [0.5, (table) => this.#columns(table)],
      [0.1, (table) => this.#type(table)],
      [0.1, (table) => this.#key(table)],
      [0.1, (table) => this.#identity(table)],
      [0.1, (table) => this.#publication(table)],
      [0.1, (table) => [{ sql: `VACUUM FULL ${table.name}`, alone: true, alters: true }]],
    ];
  }

  /** Of tables that are divided. */
  get partitionKinds(): readonly (readonly [number, TableChange])[] {
    return [
      [0.25, (table) => this.#awayForAWhile(table)],
      [0.2, (table) => this.#detach(table)],
      [0.3, (table) => this.#attach(table)],
      [0.25, (table) => this.#replace(table)],
      [0.2, (table) => this.#additional(table)],
      [0.1, (table) => this.#truncatePartition(table)],
    ];
  }

  /** Refreshes a materialised view. */
  refresh(view: WorldMaterialized): Statement {
    const how = view.concurrently && this.random.chance(0.6) ? "CONCURRENTLY " : "";
    // One that has never been filled cannot be refreshed beside its readers.
    const sql = `REFRESH MATERIALIZED VIEW ${how}${quote(view.schema)}.${quote(view.name)}`;
    return { sql, alters: true, errors: ["55000"] };
  }

  #columns(table: TableSql): Statement[] | null {
    const added = quote(`added ${this.random.whole(1, 2)}`);
    const other = quote(`added ${this.random.whole(3, 4)}`);
    const droppable = table.table.columns.filter((column) => column.droppable);
    const start = `ALTER TABLE ${table.name}`;
    const type = this.random.pick(["int", "int DEFAULT 7", "text", "text DEFAULT 'added'", "timestamptz"]);
    switch (this.random.whole(0, 5)) {
      case 0:
      case 1:
        return [{ sql: `${start} ADD COLUMN IF NOT EXISTS ${added} ${type}`, alters: true }];
      case 2:
        return [{ sql: `${start} DROP COLUMN IF EXISTS ${added}`, alters: true }];
      case 3:
        return [{ sql: `${start} RENAME COLUMN ${added} TO ${other}`, alters: true }];
      case 4:
        return [{ sql: `UPDATE ${table.name} SET ${added} = DEFAULT WHERE ${table.anyRow()}` }];
      default: {
        if (droppable.length === 0) return null;
        const name = quote(this.random.pick(droppable).name);
        const sql = this.random.chance(0.5)
          ? `${start} DROP COLUMN IF EXISTS ${name}`
          : `${start} RENAME COLUMN ${name} TO ${other}`;
        return [{ sql, alters: true }];
      }
    }
  }

  /** Another type, or the same one with other values. */
  #type(table: TableSql): Statement[] | null {
    const columns = table.table.columns.filter(({ type, generated, use }) =>
      !generated && (TYPES[type] !== undefined || (use === "value" && REWRITES[type] !== undefined))
    );
    if (columns.length === 0) return null;
    const { name, type, use } = this.random.pick(columns);
    const column = quote(name);
    const rewrite = use === "value" && !table.table.uniques.flat().includes(name)
      ? REWRITES[type]
      : undefined;
    const types = TYPES[type];
    const start = `ALTER TABLE ${table.name} ALTER COLUMN ${column} TYPE`;
    const sql = rewrite !== undefined && (types === undefined || this.random.chance(0.5))
      ? `${start} ${type} USING ${rewrite(column)}`
      : types === undefined
      ? null
      : `${start} ${this.random.pick(types)}`;
    return sql === null ? null : [{ sql, alters: true, errors: TYPE_ERRORS }];
  }

  /** The primary key is made anew, perhaps in another order. */
  #key(table: TableSql): Statement[] | null {
    const { primaryKey } = table.table;
    if (primaryKey.length === 0) return null;
    const columns = this.random.chance(0.5) ? primaryKey : primaryKey.toReversed();
    const name = literal(table.name);
    return [{
      sql: [
        "DO $fuzz$ DECLARE",
        `  known text := (SELECT conname FROM pg_constraint WHERE conrelid = ${name}::regclass AND contype = 'p');`,
        "BEGIN",
        `  EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', ${name}, known);`,
        `  ALTER TABLE ${table.name} ADD PRIMARY KEY (${columns.map(quote).join(", ")});`,
        "END $fuzz$",
      ].join("\n"),
      alters: true,
      errors: KEY_ERRORS,
    }];
  }

  /** Somebody sets the replica identity, and rows change. */
  #identity(table: TableSql): Statement[] | null {
    const { primaryKey, columns } = table.table;
    // Without a key the application could not update its rows; with generated columns that PostgreSQL 18 does not publish neither.
    if (primaryKey.length === 0) return null;
    const full = columns.every((column) => !column.generated) && this.random.chance(0.3);
    const { part } = table;
    const on = part === null ? table.name : part;
    return [
      {
        sql: `ALTER TABLE ${on} REPLICA IDENTITY ${full ? "FULL" : "DEFAULT"}`,
        alters: true,
        errors: ["42P01"],
      },
      ...this.#someChanges(table),
    ];
  }

  /** The publication lacks the table or an operation for a while, and comes back in the same transaction. */
  #publication(table: TableSql): Statement[] {
    const [away, back] = this.random.chance(0.5)
      ? [`DROP TABLE ${table.name}`, `ADD TABLE ${table.name}`]
      : ["SET (publish = 'insert')", "SET (publish = 'insert, update, delete, truncate')"];
    const alter = (how: string) =>
      `  EXECUTE format('ALTER PUBLICATION %I ', 'pgsync_' || current_database()) || ${literal(how)};`;
    const changes = this.#someChanges(table).map(({ sql }) => `  EXECUTE ${literal(sql)};`);
    return [{
      sql: ["DO $fuzz$ BEGIN", alter(away), ...changes, alter(back), "END $fuzz$"].join("\n"),
      alters: true,
      errors: PUBLICATION_ERRORS,
    }];
  }

  #someChanges(table: TableSql): Statement[] {
    const reference = this.random.pick([...table.references, null]);
    return [
      ...(table.values.length > 0 ? [table.updateValues(table.someRows())] : []),
      ...(reference !== null && reference.constraint !== null
        ? [table.reparent(reference, table.anyRow(), "row")]
        : []),
      ...(this.random.chance(0.3) ? [table.delete(table.anyRow(table.unreferenced()))] : []),
    ];
  }

  /** Detached, changed and attached again. */
  #awayForAWhile(table: TableSql): Statement[] | null {
    const part = this.#part(table);
    if (part === null) return null;
    return [
      this.#detached(table, part.name),
      ...this.#changesOf(table, part.name),
      ...this.#identified(table, part.name),
      this.#attached(table, part),
    ];
  }

  #detach(table: TableSql): Statement[] | null {
    const part = this.#part(table);
    return part === null ? null : [this.#detached(table, part.name)];
  }

  #attach(table: TableSql): Statement[] | null {
    const part = this.#part(table);
    return part === null ? null : [...this.#identified(table, part.name), this.#attached(table, part)];
  }

  #truncatePartition(table: TableSql): Statement[] | null {
    const part = this.#part(table);
    if (part === null) return null;
    return [{ sql: `TRUNCATE ${table.beside(part.name).name}`, alters: true, errors: PARTITION_ERRORS }];
  }

  /** Another table takes the place of a partition, with some of its rows. */
  #replace(table: TableSql): Statement[] | null {
    const part = this.#part(table);
    if (part === null) return null;
    const old = table.beside(part.name).name;
    const next = table.beside(`${part.name} next`).name;
    const names = table.stableColumns.map(quote).join(", ");
    const rows = `SELECT ${names} FROM ${old}${this.random.chance(0.5) ? ` WHERE ${table.someRows()}` : ""}`;
    const change = (sql: string): Statement => ({ sql, alters: true, errors: PARTITION_ERRORS });
    return [
      ...this.#made(table, `${part.name} next`),
      this.random.chance(0.2)
        ? change(`DELETE FROM ${old}`)
        : change(`INSERT INTO ${next} (${names}) ${rows}`),
      ...this.#changesOf(table, `${part.name} next`),
      this.#detached(table, part.name),
      change(`DROP TABLE ${old}`),
      change(`ALTER TABLE ${next} RENAME TO ${quote(part.name)}`),
      this.#attached(table, part),
    ];
  }

  /** A partition more, with rows that the others held. */
  #additional(table: TableSql): Statement[] | null {
    const { partitioning, columns } = table.table;
    const column = columns.find(({ name }) => name === partitioning?.column);
    if (partitioning === null || column === undefined || partitioning.strategy === "hash") return null;
    const values = column.domain.filter((value) => value !== "NULL");
    const value = this.random.pick(values);
    const isList = partitioning.strategy === "list";
    const part = {
      name: additionalName(table),
      bound: isList ? `FOR VALUES IN (${value})` : `FOR VALUES FROM (${value}) TO (MAXVALUE)`,
    };
    if (this.random.chance(0.3)) {
      const sql = `CREATE TABLE ${table.beside(part.name).name} PARTITION OF ${table.name} ${part.bound}`;
      return [{ sql, alters: true, errors: PARTITION_ERRORS }, ...this.#identified(table, part.name)];
    }
    const next = table.beside(part.name).name;
    const names = table.stableColumns.map(quote).join(", ");
    const where = `${quote(column.name)} ${isList ? "=" : ">="} ${value}`;
    return [
      ...this.#made(table, part.name),
      {
        sql: `INSERT INTO ${next} (${names}) SELECT ${names} FROM ${table.name} WHERE ${where}`,
        errors: PARTITION_ERRORS,
      },
      table.delete(where),
      this.#attached(table, part),
    ];
  }

  /** A table like the one that is divided. */
  #made(table: TableSql, part: string): Statement[] {
    const sql = `CREATE TABLE ${table.beside(part).name} (LIKE ${table.name} INCLUDING ALL)`;
    return [{ sql, errors: PARTITION_ERRORS }, ...this.#identified(table, part)];
  }

  /** Without a key, and with an identity that asks for one, the application could not update its rows. */
  #identified(table: TableSql, part: string): Statement[] {
    if (table.table.primaryKey.length > 0) return [];
    const sql = `ALTER TABLE ${table.beside(part).name} REPLICA IDENTITY FULL`;
    return [{ sql, errors: PARTITION_ERRORS }];
  }

  /** Changes of the rows of a partition that is none at the moment. */
  #changesOf(table: TableSql, name: string): Statement[] {
    const part = table.beside(name);
    return [
      ...(part.values.length > 0 ? [part.updateValues(part.someRows())] : []),
      ...(this.random.chance(0.3) ? [part.delete(part.anyRow(part.unreferenced()))] : []),
    ].map((statement) => ({ ...statement, errors: PARTITION_ERRORS }));
  }

  #detached(table: TableSql, part: string): Statement {
    const sql = `ALTER TABLE ${table.name} DETACH PARTITION ${table.beside(part).name}`;
    return { sql, alters: true, errors: PARTITION_ERRORS };
  }

  #attached(table: TableSql, part: { readonly name: string; readonly bound: string }): Statement {
    const sql = `ALTER TABLE ${table.name} ATTACH PARTITION ${table.beside(part.name).name} ${part.bound}`;
    return { sql, alters: true, errors: PARTITION_ERRORS };
  }

  #part(table: TableSql) {
    const { partitioning } = table.table;
    return partitioning === null ? null : this.random.pick(partitioning.parts);
  }
}

function additionalName(table: TableSql): string {
  return `${table.table.name.slice(0, 40)} more`;
}

function literal(text: string): string {
  return `$text$${text}$text$`;
}
