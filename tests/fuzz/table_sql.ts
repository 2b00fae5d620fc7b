/** Statements about one table of a world. What they do depends on the rows that are there; that they can be run does not. */
import type { Random } from "../../examples/bookshop/random.ts";
import type { World, WorldColumn, WorldReference, WorldTable } from "./world.ts";
import type { Statement } from "./work.ts";

/** Candidates of which an insert takes those whose keys are free. */
const CANDIDATES = 24;
/** A text of 9,600 characters that PostgreSQL cannot compress to fit into a page: it is stored out of line. */
const LONG_TEXT = (seed: number) =>
  `(SELECT string_agg(md5((n + ${seed})::text), '') FROM generate_series(1, 300) AS n)`;

/** Quotes an identifier. */
export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Makes statements about a table; every choice comes from `random`. */
export class TableSql {
  /** The qualified name. */
  readonly name: string;
  /** Columns that are written. */
  readonly #columns: readonly WorldColumn[];

  /** @param stable leave out columns that ALTER TABLE may drop or rename */
  constructor(
    private readonly world: World,
    readonly table: WorldTable,
    private readonly random: Random,
    private readonly stable: boolean,
    name = table.name,
  ) {
    this.name = `${quote(table.schema)}.${quote(name)}`;
    this.#columns = table.columns.filter((column) => !column.generated && !(stable && column.droppable));
  }

  /** The columns that hold values and can be written. */
  get values(): readonly WorldColumn[] {
    return this.#columns.filter((column) => column.use === "value");
  }

  /** The names of all columns that can be written and stay. */
  get stableColumns(): readonly string[] {
    return this.table.columns.filter((column) => !column.generated && !column.droppable).map(({ name }) =>
      name
    );
  }

  /** The same for a table of another name in the same schema that is made as this one: a partition of it. */
  beside(name: string): TableSql {
    return new TableSql(this.world, this.table, this.random, true, name);
  }

  /** The qualified name of one of its partitions; null where there are none. */
  get part(): string | null {
    const { partitioning } = this.table;
    return partitioning === null ? null : this.beside(this.random.pick(partitioning.parts).name).name;
  }

  /** Columns of the key that can be written. */
  get writtenKey(): readonly WorldColumn[] {
    return this.#columns.filter((column) => this.table.primaryKey.includes(column.name));
  }

  /** Every column of the key can be given. */
  get keyIsWritten(): boolean {
    const { primaryKey } = this.table;
    return primaryKey.length > 0 && this.writtenKey.length === primaryKey.length;
  }

  /** References whose columns can be written. */
  get references(): readonly WorldReference[] {
    return this.table.references.filter((reference) =>
      reference.columns.every((name) => this.#columns.some((column) => column.name === name))
    );
  }

  /** Rows of chosen values; references lead to rows that are there, keys that are taken are left out. */
  insertMany(count: number): Statement {
    const columns = this.#inserted();
    const links = this.#links(columns, 0.9);
    const seed = this.#number();
    const expressions = columns.map((column, place) => {
      const chosen = this.#chosenBy(column, `(g.n * ${2 * place + 1} + ${seed + place})`);
      const link = links.get(column.name);
      return link === undefined ? chosen : `coalesce(${link.expression}::${column.type}, ${chosen})`;
    });
    const joins = [...new Set([...links.values()].map((link) => link.join))];
    const names = columns.map(({ name }) => quote(name));
    const free = [this.table.primaryKey, ...this.table.uniques]
      .filter((key) => key.length > 0 && key.every((name) => columns.some((column) => column.name === name)))
      .map((key) =>
        `NOT EXISTS (SELECT FROM ${this.name} o WHERE ${
          key.map((name) => `o.${quote(name)} = c.${quote(name)}`).join(" AND ")
        })`
      );
    const given = columns.filter((column) => column.notNull).map(({ name }) =>
      `c.${quote(name)} IS NOT NULL`
    );
    const conditions = [...free, ...given, ...this.#constraints(columns)];
    return {
      sql: [
        `INSERT INTO ${this.name} (${names.join(", ")})`,
        `SELECT c.* FROM (`,
        `  SELECT ${expressions.join(", ")}`,
        `  FROM generate_series(1, ${count + CANDIDATES}) AS g (n)`,
        ...joins.map((join) => `  ${join}`),
        `) AS c (${names.join(", ")})`,
        ...(conditions.length > 0 ? [`WHERE ${conditions.join(" AND ")}`] : []),
        `LIMIT ${count}${count > 1 ? " ON CONFLICT DO NOTHING" : ""}`,
      ].join("\n"),
    };
  }

  /** One row of literals, whatever is there. */
  insertLiterals(conflict: "fail" | "nothing" | "update"): Statement {
    const columns = this.#inserted();
    const names = columns.map(({ name }) => quote(name)).join(", ");
    const values = columns.map((column) => this.#literal(column)).join(", ");
    return {
      sql: `INSERT INTO ${this.name} (${names}) VALUES (${values})${this.#onConflict(conflict, columns)}`,
    };
  }

  /** One row of literals in a given key; the key's columns must all be writable. */
  insertKey(key: ReadonlyMap<string, string>, conflict: "fail" | "nothing" | "update"): Statement {
    const columns = this.#inserted();
    const names = columns.map(({ name }) => quote(name)).join(", ");
    const links = this.references.length > 0 ? this.#pickedScalars(columns) : new Map<string, string>();
    const values = columns.map((column) =>
      key.get(column.name) ?? links.get(column.name) ?? this.#literal(column)
    );
    return {
      sql: `INSERT INTO ${this.name} (${names}) VALUES (${values.join(", ")})${
        this.#onConflict(conflict, columns)
      }`,
    };
  }

  /** COPY of rows of literals. */
  copy(count: number): Statement {
    const columns = this.#inserted();
    const rows = Array.from(
      { length: count },
      () => `(${columns.map((column) => `(${this.#literal(column)})::${column.type}`).join(", ")})`,
    );
    return {
      sql: `COPY ${this.name} (${columns.map(({ name }) => quote(name)).join(", ")}) FROM STDIN`,
      rows: `VALUES ${rows.join(", ")}`,
    };
  }

  /** A key of literals, by column. */
  key(): Map<string, string> {
    return new Map(this.writtenKey.map((column) => [column.name, this.#literal(column)]));
  }

  /** A condition that holds for at most one row: one that is there, found by its place. */
  anyRow(among = "true"): string {
    const { primaryKey } = this.table;
    if (primaryKey.length === 0) {
      return `(tableoid, ctid) = ${this.#place(["tableoid", "ctid"], "r::text", among)}`;
    }
    const columns = primaryKey.map(quote);
    return `(${columns.join(", ")}) = ${this.#place(columns, columns.join(", "), among)}`;
  }

  /** A condition that holds for the row of a key. */
  rowOf(key: ReadonlyMap<string, string>): string {
    return [...key].map(([name, literal]) => `${quote(name)} = ${literal}`).join(" AND ");
  }

  /** Changes values of rows. */
  updateValues(where: string, columns: readonly WorldColumn[] = this.#someValues()): Statement {
    const sets = columns.map((column) => `${quote(column.name)} = ${this.#newValue(column)}`);
    return { sql: `UPDATE ${this.name} SET ${sets.join(", ")} WHERE ${where}` };
  }

  /** Moves rows to another row of the reference's target, or to none. */
  reparent(reference: WorldReference, where: string, to: "row" | "literal" | "null"): Statement {
    const names = reference.columns.map(quote).join(", ");
    if (to === "row") {
      const target = this.#target(reference);
      const columns = reference.targetColumns.map(quote);
      const source = target.#place(columns, columns.join(", "), "true");
      return { sql: `UPDATE ${this.name} SET (${names}) = ${source} WHERE ${where}` };
    }
    const sets = reference.columns.map((name) => {
      const column = this.#columns.find((found) => found.name === name);
      const literal = to === "null" || column === undefined ? "NULL" : this.random.pick(column.domain);
      return `${quote(name)} = ${literal}`;
    });
    return { sql: `UPDATE ${this.name} SET ${sets.join(", ")} WHERE ${where}` };
  }

  /** Gives a row another key, one that is free where possible. */
  changeKey(where: string): Statement {
    const column = this.random.pick(this.writtenKey);
    const target = quote(column.name);
    const literals = Array.from(
      { length: CANDIDATES },
      (_, place) => `(${place}, (${this.random.pick(column.domain)})::${column.type})`,
    );
    // Where the key has other columns, a value that some other row has may be free all the same.
    const free = this.table.primaryKey.length === 1
      ? ` WHERE NOT EXISTS (SELECT FROM ${this.name} o WHERE o.${target} = d.v)`
      : "";
    const value = `(SELECT d.v FROM (VALUES ${literals.join(", ")}) AS d (n, v)${free} ORDER BY d.n LIMIT 1)`;
    return { sql: `UPDATE ${this.name} SET ${target} = coalesce(${value}, ${target}) WHERE ${where}` };
  }

  /** Deletes rows; `r` in the condition is the row. */
  delete(where: string): Statement {
    return { sql: `DELETE FROM ${this.name} AS r WHERE ${where}` };
  }

  /** Holds for rows that no constraint keeps from going; `r` is the row. */
  unreferenced(): string {
    const incoming = this.world.tables.flatMap((other) =>
      other.references
        .filter((reference) =>
          this.world.tables[reference.target] === this.table && reference.constraint?.onDelete === "NO ACTION"
        )
        .map((reference) => {
          const equal = reference.columns.map((name, at) =>
            `x.${quote(name)} = r.${quote(reference.targetColumns[at] ?? "")}`
          );
          return `NOT EXISTS (SELECT FROM ${quote(other.schema)}.${quote(other.name)} x WHERE ${
            equal.join(" AND ")
          })`;
        })
    );
    return incoming.length === 0 ? "true" : incoming.join(" AND ");
  }

  /** Whether a constraint keeps keys from being changed. */
  get keyIsHeld(): boolean {
    return this.world.tables.some((other) =>
      other.references.some((reference) =>
        this.world.tables[reference.target] === this.table && reference.constraint?.onUpdate === "NO ACTION"
      )
    );
  }

  /** A condition on about a part of the rows: one value of some column. */
  someRows(): string {
    const column = this.random.pick(this.#columns);
    if (!this.#isComparable(column) || this.random.chance(0.3)) {
      const { primaryKey } = this.table;
      const of = primaryKey.length === 0 ? "" : `ROW(${primaryKey.map(quote).join(", ")})::text`;
      return of === ""
        ? this.anyRow()
        : `abs(hashtext(${of})) % ${this.random.whole(2, 4)} = ${this.random.whole(0, 1)}`;
    }
    return `${quote(column.name)} = ${this.#literalNotNull(column)}`;
  }

  #isComparable(column: WorldColumn): boolean {
    return !/^(json|xml|point|box|polygon|circle|line|path|lseg)\b/i.test(column.type);
  }

  /** Those that an insert names: all that must be given, most of the others. */
  #inserted(): WorldColumn[] {
    return this.#columns.filter((column) =>
      column.notNull || column.use !== "value" || this.random.chance(0.9)
    );
  }

  /** By column, what an insert takes from a row of the reference's target. */
  #links(
    columns: readonly WorldColumn[],
    probability: number,
  ): Map<string, { readonly expression: string; readonly join: string }> {
    const links = new Map<string, { expression: string; join: string }>();
    for (const [place, reference] of this.references.entries()) {
      const free = reference.columns.every((name) =>
        !links.has(name) && columns.some((column) => column.name === name)
      );
      const wanted = reference.constraint === null ? 0.6 : probability;
      if (!free || !this.random.chance(wanted)) continue;
      const target = this.#target(reference);
      const found = reference.targetColumns.map(quote);
      const offset = `(g.n * 7 + ${this.#number()}) % greatest(1, (SELECT count(*) FROM ${target.name}))`;
      const join = `LEFT JOIN LATERAL (SELECT ${found.join(", ")} FROM ${target.name}${
        this.#fitting(reference, target)
      } ORDER BY ${found.join(", ")} OFFSET ${offset} LIMIT 1) AS r${place} ON true`;
      for (const [at, name] of reference.columns.entries()) {
        links.set(name, { expression: `r${place}.${found[at] ?? ""}`, join });
      }
    }
    return links;
  }

  /** A value of the target may not fit into a narrower type: only those that are known do. */
  #fitting(reference: WorldReference, target: TableSql): string {
    const conditions = reference.columns.flatMap((name, at) => {
      const own = this.table.columns.find((column) => column.name === name);
      const found = reference.targetColumns[at] ?? "";
      const other = target.table.columns.find((column) => column.name === found);
      return own === undefined || own.type === other?.type
        ? []
        : [`${quote(found)} IN (${own.domain.join(", ")})`];
    });
    return conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
  }

  /** Conditions on `c` that keep its constraints. */
  #constraints(columns: readonly WorldColumn[]): string[] {
    return this.table.references.flatMap((reference) => {
      const given = reference.columns.every((name) => columns.some((column) => column.name === name));
      if (reference.constraint === null || !given) return [];
      const pairs = reference.columns.map((name, at) =>
        `t.${quote(reference.targetColumns[at] ?? "")} = c.${quote(name)}`
      );
      const absent = reference.columns.map((name) => `c.${quote(name)} IS NULL`);
      return [
        `(${absent.join(" OR ")} OR EXISTS (SELECT FROM ${this.#target(reference).name} t WHERE ${
          pairs.join(" AND ")
        }))`,
      ];
    });
  }

  /** By column, a subselect of a row of the target; only references of one column, for each is chosen by itself. */
  #pickedScalars(columns: readonly WorldColumn[]): Map<string, string> {
    const picked = new Map<string, string>();
    for (const reference of this.references) {
      const [name] = reference.columns;
      const [found] = reference.targetColumns;
      if (name === undefined || found === undefined || reference.columns.length > 1 || picked.has(name)) {
        continue;
      }
      if (!columns.some((column) => column.name === name)) continue;
      picked.set(name, this.#target(reference).#place([quote(found)], quote(found), "true"));
    }
    return picked;
  }

  #target(reference: WorldReference): TableSql {
    const table = this.world.tables[reference.target];
    if (table === undefined) throw new RangeError(`the world has no table ${reference.target}`);
    return new TableSql(this.world, table, this.random, this.stable);
  }

  /** A subselect of columns of one row, by its place in an order. */
  #place(columns: readonly string[], order: string, among: string): string {
    const rows = among === "true" ? `${this.name} r` : `${this.name} r WHERE ${among}`;
    return `(SELECT ${columns.join(", ")} FROM ${rows} ORDER BY ${order} ` +
      `OFFSET ${this.#number()} % greatest(1, (SELECT count(*) FROM ${rows})) LIMIT 1)`;
  }

  #onConflict(conflict: "fail" | "nothing" | "update", columns: readonly WorldColumn[]): string {
    if (conflict === "fail") return "";
    const key = [this.table.primaryKey, ...this.table.uniques].find((names) => names.length > 0);
    if (conflict === "nothing" || key === undefined) return " ON CONFLICT DO NOTHING";
    const sets = columns.filter((column) => !key.includes(column.name))
      .map(({ name }) => `${quote(name)} = excluded.${quote(name)}`);
    const target = `(${key.map(quote).join(", ")})`;
    return sets.length === 0
      ? ` ON CONFLICT ${target} DO NOTHING`
      : ` ON CONFLICT ${target} DO UPDATE SET ${sets.join(", ")}`;
  }

  #someValues(): readonly WorldColumn[] {
    const { values } = this;
    if (values.length === 0) throw new RangeError(`${this.name} has no values to change`);
    const chosen = values.filter(() => this.random.chance(0.4));
    return chosen.length > 0 ? chosen : [this.random.pick(values)];
  }

  #newValue(column: WorldColumn): string {
    const isKey = this.table.uniques.flat().includes(column.name);
    if (column.type === "text" && !isKey && this.random.chance(0.15)) {
      return LONG_TEXT(this.random.whole(0, 3));
    }
    return this.#literal(column);
  }

  #literal(column: WorldColumn): string {
    if (!column.notNull && this.random.chance(0.1)) return "NULL";
    return this.random.pick(column.domain);
  }

  #literalNotNull(column: WorldColumn): string {
    return this.random.pick(column.domain);
  }

  /** The value of the domain at a computed place. */
  #chosenBy(column: WorldColumn, place: string): string {
    const choices = column.domain.map((literal, at) => `WHEN ${at} THEN ${literal}`);
    if (!column.notNull) choices.push(`WHEN ${choices.length} THEN NULL`);
    return `(CASE ${place} % ${choices.length} ${choices.join(" ")} END)::${column.type}`;
  }

  #number(): number {
    return this.random.whole(0, 999);
  }
}
