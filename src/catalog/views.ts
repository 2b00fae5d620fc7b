import { z } from "zod";
import type { QualifiedName } from "../schema/tree.ts";
import { parseNodeTree } from "./node_tree.ts";
import type { MaterializedView, Relation, ViewDefinition, ViewTable } from "./types.ts";
import { tablesInRule } from "./view_lineage.ts";

const oid = z.number().int().nonnegative();

/** A row of `VIEWS`. */
export const viewRow = z.object({
  oid,
  schema: z.string(),
  table: z.string(),
  kind: z.enum(["v", "m"]),
  populated: z.boolean(),
  owner: z.string(),
  mayRefresh: z.boolean(),
  concurrently: z.boolean(),
  rule: z.string(),
  opaque: z.array(z.string()),
});

/** A row of `VIEW_READS`. */
export const viewReadRow = z.object({
  view: oid,
  oid,
  kind: z.enum(["r", "p", "v", "m", "f"]),
  persistence: z.enum(["p", "u", "t"]),
  topOid: oid,
  schema: z.string(),
  table: z.string(),
  columns: z.array(z.string()),
});

type ViewRow = z.infer<typeof viewRow>;
type ViewReadRow = z.infer<typeof viewReadRow>;

/** A reference to a whole row, whatever its columns: `SELECT b FROM b`. */
const WHOLE_ROW = ":varattno 0 ";

/**
 * In a rule: CURRENT_DATE and its like (SQLValueFunctionOp 0 to 8 of primnodes.h), and calls of timeofday, now, age of one argument
 * (timestamptz, timestamp), transaction_timestamp, statement_timestamp and clock_timestamp (pg_proc.dat).
 */
const TIME = /\{SQLVALUEFUNCTION :op [0-8] |:funcid (?:274|1299|1386|2059|2647|2648|2649) /;

/** What views read, as it was read itself. */
export class ViewReads {
  readonly #views: ReadonlyMap<number, ViewRow>;
  readonly #readsOf: ReadonlyMap<number, readonly ViewReadRow[]>;

  constructor(views: readonly ViewRow[], reads: readonly ViewReadRow[]) {
    this.#views = new Map(views.map((row) => [row.oid, row]));
    this.#readsOf = Map.groupBy(reads, (row) => row.view);
  }

  /** The tables below plain views whose changes the stream can tell of. */
  tablesBelow(views: readonly number[]): QualifiedName[] {
    return views.flatMap((view) => this.#tableReads(view))
      .filter((read) => unheard(read) === null)
      .map(({ schema, table }) => ({ schema, table }));
  }

  /**
   * What a view is made of.
   *
   * @param relations hold the view itself and the tables below
   * @returns null where it is no view
   */
  definition(view: Relation, relations: readonly Relation[]): ViewDefinition | null {
    const own = this.#views.get(view.oid);
    if (own === undefined) return null;
    const plain = this.#plainBelow(view.oid);
    return {
      tables: own.kind === "m" ? [] : this.#tables(view, relations),
      materializedViews: this.#materializedBelow(view.oid).map(materializedView),
      opaque: [...new Set(plain.flatMap((row) => row.opaque))],
      asksForTime: plain.some((row) => TIME.test(row.rule)),
      below: this.#below(view.oid).filter((row) => row.oid !== view.oid)
        .map(({ schema, table }) => ({ schema, table })),
    };
  }

  #tables(view: Relation, relations: readonly Relation[]): ViewTable[] {
    const plain = this.#plainBelow(view.oid);
    const reads = this.#tableReads(view.oid);
    const wholeRows = plain.some((row) => row.rule.includes(WHOLE_ROW));
    const passed = this.#passed(view, relations);
    const byTop = Map.groupBy(reads, (read) => read.topOid);
    return [...byTop].flatMap(([topOid, of]): ViewTable[] => {
      const [first] = of;
      if (first === undefined) return [];
      return [{
        schema: first.schema,
        table: first.table,
        unheard: of.map(unheard).find((reason) => reason !== null) ?? null,
        used: wholeRows ? null : [...new Set(of.flatMap((read) => read.columns))],
        passed: passed.get(topOid) ?? new Map(),
      }];
    });
  }

  /** By table, the columns that the view passes on, where its rows touch no other view rows than those that hold them. */
  #passed(view: Relation, relations: readonly Relation[]): Map<number, ReadonlyMap<string, string>> {
    const own = this.#views.get(view.oid);
    // Functions may read any table, the changed one included. Policies do not matter: sessions that read documents set
    // row_security to off, so one that would apply is an error.
    const hidden = this.#plainBelow(view.oid).some((row) => row.opaque.length > 0);
    if (own === undefined || hidden) return new Map();
    const direct = this.#readsOf.get(view.oid) ?? [];
    const inNested = new Set(
      direct.filter((read) => read.kind === "v").flatMap((read) => this.#tableReads(read.oid))
        .map((read) => read.topOid),
    );
    const topOf = new Map(direct.map((read) => [read.oid, read.topOid]));
    const rootOf = (relation: number) => topOf.get(relation) ?? relation;
    const viewColumns = new Map(view.columns.map((column) => [column.number, column.name]));
    return new Map(
      tablesInRule(parseNodeTree(own.rule), view.oid, rootOf)
        .filter(({ oid: table }) => rootOf(table) === table && !inNested.has(table))
        .map(({ oid: table, passed }) => {
          const columns = relations.find((relation) => relation.oid === table)?.columns ?? [];
          return [
            table,
            new Map(passed.flatMap((pair): [string, string][] => {
              const from = viewColumns.get(pair.view);
              const to = columns.find((column) => column.number === pair.table)?.name;
              return from === undefined || to === undefined ? [] : [[from, to]];
            })),
          ];
        }),
    );
  }

  /** What the view and the plain views below it read of tables. */
  #tableReads(view: number): ViewReadRow[] {
    return this.#plainBelow(view)
      .flatMap((row) => this.#readsOf.get(row.oid) ?? [])
      .filter((read) => read.kind !== "v" && read.kind !== "m");
  }

  /** The view itself where it is a plain one, and the plain views below it; materialised ones are not looked into. */
  #plainBelow(view: number, seen: Set<number> = new Set()): ViewRow[] {
    const row = this.#views.get(view);
    if (row === undefined || row.kind === "m" || seen.has(view)) return [];
    seen.add(view);
    const below = this.#readsOf.get(view) ?? [];
    return [row, ...below.flatMap((read) => this.#plainBelow(read.oid, seen))];
  }

  /** The view itself and all views below it. */
  #below(view: number, seen: Set<number> = new Set()): ViewRow[] {
    const row = this.#views.get(view);
    if (row === undefined || seen.has(view)) return [];
    seen.add(view);
    const below = this.#readsOf.get(view) ?? [];
    return [row, ...below.flatMap((read) => this.#below(read.oid, seen))];
  }

  /** The materialised views below a view and itself, each after those that it reads. */
  #materializedBelow(view: number, seen: Set<number> = new Set()): ViewRow[] {
    const row = this.#views.get(view);
    if (row === undefined || seen.has(view)) return [];
    seen.add(view);
    const below = (this.#readsOf.get(view) ?? []).flatMap((read) => this.#materializedBelow(read.oid, seen));
    return row.kind === "m" ? [...below, row] : below;
  }
}

/** Why the stream cannot tell of a table's changes. */
function unheard(read: ViewReadRow): string | null {
  if (read.kind === "f") return "a foreign table";
  if (read.persistence === "u") return "an unlogged table";
  return read.persistence === "t" ? "a temporary table" : null;
}

function materializedView(row: ViewRow): MaterializedView {
  const { schema, table, populated, owner, mayRefresh, concurrently } = row;
  return { oid: row.oid, schema, table, populated, owner, mayRefresh, concurrently };
}
