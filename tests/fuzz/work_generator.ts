/**
 * Random work upon a world, made from the world and a seed alone: nothing is asked of the database, so a history stays
 * valid when parts of it are left out. Rows are found by subselects, so that most statements find some; those that
 * break a constraint roll back, as an application's do.
 */
import { type Random, randomOf } from "../../examples/bookshop/random.ts";
import { type TableChange, TableChanges } from "./table_changes.ts";
import { TableSql } from "./table_sql.ts";
import type { History, Part, Statement, Step } from "./work.ts";
import type { World, WorldTable } from "./world.ts";

/** How much work, and of which kinds. */
export interface WorkOptions {
  readonly steps: number;
  /** Tables are altered, and partitions come and go, while the run follows. */
  readonly ddl: boolean;
}

/**
 * Steps between two quiet points: few, for what one change leaves wrong a later one may mend; and many, for large batches and
 * writers in each other's way.
 */
const ROUNDS = [2, 5, 10, 30, 50] as const;
/** Rows that each table has before the run, about. */
const ROWS_BEFORE = [4, 24] as const;

/** The rows of a world and what happens to them. */
export function makeHistory(world: World, seed: number, options: WorkOptions): History {
  return new WorkGenerator(world, randomOf("work", seed), options).history();
}

class WorkGenerator {
  readonly #writers: number;
  /** Each kind as often as it should come. */
  readonly #kinds: readonly TableChange[];
  readonly #changes: TableChanges;

  constructor(
    private readonly world: World,
    private readonly random: Random,
    private readonly options: WorkOptions,
  ) {
    this.#writers = random.whole(1, 3);
    const changes = new TableChanges(world, random);
    this.#changes = changes;
    const altering = options.ddl ? changes.kinds : [];
    const dividing = options.ddl ? changes.partitionKinds : [];
    const weights: (readonly [number, TableChange])[] = [
      [6, (table) => [table.insertMany(1)]],
      [2, (table) => [table.insertLiterals(random.pick(["fail", "nothing"]))]],
      [3, (table) => [table.insertLiterals("update")]],
      [6, (table) => this.#updateValues(table)],
      [6, (table) => this.#reparent(table)],
      [2, (table) => this.#changeKey(table)],
      [3, (table) => [this.#deleteOne(table)]],
      [2, (table) => this.#twice(table)],
      [2, (table) => this.#deleteAndInsert(table)],
      [2, (table) => this.#moveAndBack(table)],
      [1, (table) => [table.insertMany(random.whole(5, 40))]],
      [1, (table) => table.values.length === 0 ? null : [table.updateValues(table.someRows())]],
      [1, (table) => [table.delete(`${table.someRows()} AND ${table.unreferenced()}`)]],
      [2, (table) => [table.copy(random.whole(1, 3))]],
      [1, (table) => this.#deferred(table)],
      [0.15, (table) => [this.#truncate(table)]],
      ...altering.map(([share, change]) => [1.5 * share, change] as const),
      ...dividing.map(([share, change]) =>
        [5 * share, (table: TableSql) => table.table.partitioning === null ? null : change(table)] as const
      ),
      [world.materialized.length > 0 ? 2 : 0, () => [changes.refresh(random.pick(world.materialized))]],
    ];
    this.#kinds = weights.flatMap(([weight, work]) =>
      Array.from({ length: Math.max(weight > 0 ? 1 : 0, Math.round(weight * 20)) }, () => work)
    );
  }

  history(): History {
    const before = this.world.tables.map((table) =>
      new TableSql(this.world, table, this.random, false).insertMany(this.random.whole(...ROWS_BEFORE))
    );
    // Others stand as they were made, of no rows, when the run begins.
    for (const view of this.world.materialized) {
      if (this.random.chance(0.7)) before.push({ ...this.#changes.refresh(view) });
    }
    const rounds: Step[][] = [];
    for (let left = this.options.steps; left > 0;) {
      const size = Math.min(left, this.random.pick(ROUNDS));
      rounds.push(Array.from({ length: size }, () => this.#step()));
      left -= size;
    }
    return { before, rounds };
  }

  #step(): Step {
    const writer = this.random.whole(0, this.#writers - 1);
    if (this.random.chance(0.35)) {
      const work = this.#work();
      const [only] = work;
      if (only?.alone === true || (only !== undefined && work.length === 1)) {
        return { writer, parts: [only], end: "none" };
      }
      return { writer, parts: work, end: "commit" };
    }
    const parts: Part[] = [];
    for (let left = this.random.whole(1, 4); left > 0; left--) {
      const statements = this.#work();
      // What can only be done alone stays out of transactions.
      if (statements.some((statement) => statement.alone === true)) continue;
      if (this.random.chance(0.7)) {
        parts.push({ statements, end: this.random.chance(0.75) ? "release" : "rollback" });
      } else parts.push(...statements);
    }
    return { writer, parts, end: this.random.chance(0.9) ? "commit" : "rollback" };
  }

  #work(): readonly Statement[] {
    for (;;) {
      const statements = this.random.pick(this.#kinds)(this.#table(this.random.pick(this.world.tables)));
      if (statements !== null) return statements;
    }
  }

  #table(table: WorldTable): TableSql {
    return new TableSql(this.world, table, this.random, this.options.ddl && this.random.chance(0.9));
  }

  #updateValues(table: TableSql): Statement[] | null {
    return table.values.length === 0 ? null : [table.updateValues(table.anyRow())];
  }

  #reparent(table: TableSql): Statement[] | null {
    if (table.references.length === 0) return null;
    const reference = this.random.pick(table.references);
    const nullable = reference.columns.every((name) =>
      table.table.columns.some((column) => column.name === name && !column.notNull)
    );
    const to = nullable && this.random.chance(0.2)
      ? "null"
      : reference.constraint !== null || this.random.chance(0.6)
      ? "row"
      : "literal";
    return [table.reparent(reference, this.random.chance(0.85) ? table.anyRow() : table.someRows(), to)];
  }

  #changeKey(table: TableSql): Statement[] | null {
    if (table.writtenKey.length === 0 || (table.keyIsHeld && this.random.chance(0.7))) return null;
    return [table.changeKey(table.anyRow())];
  }

  #deleteOne(table: TableSql): Statement {
    const among = this.random.chance(0.85) ? table.unreferenced() : "true";
    return table.delete(table.anyRow(among));
  }

  /** Two changes of one row. */
  #twice(table: TableSql): Statement[] | null {
    if (table.values.length === 0) return null;
    const where = table.keyIsWritten && this.random.chance(0.5) ? table.rowOf(table.key()) : table.anyRow();
    const move = this.#reparent(table);
    return [table.updateValues(where), ...move ?? [], table.updateValues(where)];
  }

  #deleteAndInsert(table: TableSql): Statement[] | null {
    if (!table.keyIsWritten) return null;
    const key = table.key();
    return [table.delete(table.rowOf(key)), table.insertKey(key, "nothing")];
  }

  /** To another parent, to a third, and to the first again. */
  #moveAndBack(table: TableSql): Statement[] | null {
    if (table.references.length === 0) return null;
    const reference = this.random.pick(table.references);
    const where =
      table.keyIsWritten && !reference.columns.some((name) => table.table.primaryKey.includes(name))
        ? table.rowOf(table.key())
        : table.anyRow();
    const first = table.reparent(reference, where, "row");
    return [first, table.reparent(reference, where, "row"), first];
  }

  /** The child first, its parent later: only the commit asks for both. */
  #deferred(table: TableSql): Statement[] | null {
    const reference = table.references.find(({ constraint }) => constraint?.deferrable === true);
    const target = reference === undefined ? undefined : this.world.tables[reference.target];
    if (reference === undefined || target === undefined) return null;
    const parent = this.#table(target);
    const child = table.reparent(reference, table.anyRow(), "literal");
    return [
      { sql: "SET CONSTRAINTS ALL DEFERRED" },
      child,
      parent.insertMany(2),
      parent.insertLiterals("nothing"),
    ];
  }

  #truncate(table: TableSql): Statement {
    const also = this.random.chance(0.3) ? `, ${this.#table(this.random.pick(this.world.tables)).name}` : "";
    const names = also.slice(2) === table.name ? table.name : table.name + also;
    return { sql: `TRUNCATE ${names}${this.random.chance(0.7) ? " CASCADE" : ""}` };
  }
}
