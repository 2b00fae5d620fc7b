import { isTreeNode, type NodeValue, type TreeNode } from "./node_tree.ts";

/** A column that a view passes on unchanged from a table. */
export interface PassedColumn {
  /** `pg_attribute.attnum` of the view. */
  readonly view: number;
  /** `pg_attribute.attnum` of the table. */
  readonly table: number;
}

/** What a rule says of one table in it. */
export interface TableInRule {
  readonly oid: number;
  /** Columns of which a changed row touches only the view rows that hold its old or its new values; mostly empty. */
  readonly passed: readonly PassedColumn[];
}

/**
 * Which view rows a row of a table touches, judged from the view's rule. A change of one row of table B can alter only the
 * view rows whose columns `passed` equal those of the row, old or new, provided that
 *
 * - B stands once in the whole rule. (In `SELECT b.k, (SELECT count(*) FROM b) …` each row touches all; so it does where B
 *   is joined to itself, or stands in a common table expression, which may be read twice.)
 * - it stands in FROM, directly or in subqueries of FROM, and the columns come from there. (Where it stands in EXISTS, NOT
 *   EXISTS or a scalar subquery the columns come from another table, whose rows say nothing of which are touched.)
 * - each query on the way down to B makes its rows of B's rows one by one, or gathers rows that agree in the columns: join,
 *   WHERE, GROUP BY with the columns (the server asks for that), DISTINCT. Not so a window function, LIMIT and OFFSET,
 *   DISTINCT ON (which row stays depends on the others), grouping sets (the grand total depends on all rows), UNION and
 *   its like, and TABLESAMPLE.
 *
 * An outer join with B on its nullable side adds rows in which B's columns are NULL: they link to nothing and have no `_id`.
 * What stands beside B in the rule may be anything that does not read B: subqueries, aggregates, LIMIT 1 of another
 * table. Only functions may read tables that the rule does not show; they, nested views and partitions are the caller's
 * matter (`ViewReads`). Values that are equal and print differently are the caller's matter, too: GROUP
 * BY shows one of them for all.
 *
 * Pure; `rule` is the parsed `pg_rewrite.ev_action`.
 *
 * @param self the view's own oid: before PostgreSQL 16 its rule lists the view itself twice, as "old" and "new"
 * @param rootOf gives the topmost table of a partition, for other relations themselves
 */
export function tablesInRule(
  rule: NodeValue,
  self: number,
  rootOf: (oid: number) => number,
): TableInRule[] {
  const [query] = Array.isArray(rule) ? rule : [];
  if (!isTreeNode(query)) return [];
  const places: Place[] = [];
  visitQuery(query, true, places);
  const read = places.filter((place) => place.oid !== self);
  const columns = plainColumns(query);
  return [...new Set(read.map((place) => place.oid))].map((oid) => {
    const all = read.filter((place) => rootOf(place.oid) === rootOf(oid));
    const [only] = all;
    const fits = all.length === 1 && only?.rowwise === true;
    return { oid, passed: fits ? columns.filter((column) => column.oid === oid) : [] };
  });
}

/** A table's place in a rule. */
interface Place {
  readonly oid: number;
  /** Every query from the top down to it keeps its rows apart. */
  readonly rowwise: boolean;
}

/** `RTEKind` of parsenodes.h, the same from PostgreSQL 13 to 18. */
const RELATION = "0";
const SUBQUERY = "1";

function visitQuery(query: TreeNode, above: boolean, places: Place[]): void {
  const rowwise = above && keepsRowsApart(query);
  for (const [name, value] of query.fields) {
    if (name !== "rtable" || !Array.isArray(value)) visit(value, places);
    else for (const entry of value) visitEntry(entry, rowwise, places);
  }
}

function visitEntry(entry: NodeValue, rowwise: boolean, places: Place[]): void {
  if (!isTreeNode(entry)) return;
  const kind = entry.fields.get("rtekind");
  const subquery = entry.fields.get("subquery");
  if (kind === RELATION) {
    const sampled = (entry.fields.get("tablesample") ?? null) !== null;
    places.push({ oid: Number(entry.fields.get("relid")), rowwise: rowwise && !sampled });
  } else if (kind === SUBQUERY && isTreeNode(subquery)) {
    visitQuery(subquery, rowwise, places);
    return;
  }
  for (const value of entry.fields.values()) visit(value, places);
}

/** Whatever else stands in a rule: queries in it are not on the way that rows take. */
function visit(value: NodeValue, places: Place[]): void {
  if (Array.isArray(value)) { for (const element of value) visit(element, places); }
  else if (isTreeNode(value)) {
    if (value.type === "QUERY") visitQuery(value, false, places);
    else for (const inner of value.fields.values()) visit(inner, places);
  }
}

function keepsRowsApart({ fields }: TreeNode): boolean {
  const absent = (name: string) => (fields.get(name) ?? null) === null;
  const off = (name: string) => fields.get(name) === "false";
  return fields.get("commandType") === "1" &&
    ["hasWindowFuncs", "hasDistinctOn", "hasTargetSRFs", "hasModifyingCTE"].every(off) &&
    ["groupingSets", "limitOffset", "limitCount", "setOperations", "rowMarks"].every(absent);
}

/**
 * The view's columns that are plain columns of a relation. The server notes their origin (`resorigtbl`, the table that a
 * result's description names) through joins and subqueries, but not through views.
 */
function plainColumns(query: TreeNode): (PassedColumn & { readonly oid: number })[] {
  const targets = query.fields.get("targetList");
  if (!Array.isArray(targets)) return [];
  return targets.flatMap((target: NodeValue) => {
    if (!isTreeNode(target) || target.fields.get("resjunk") !== "false") return [];
    const [oid, table, view] = ["resorigtbl", "resorigcol", "resno"].map((name) =>
      Number(target.fields.get(name))
    );
    // 0 is a whole row or an expression; what is below are system columns.
    if (oid === undefined || table === undefined || view === undefined || oid === 0 || !(table > 0)) {
      return [];
    }
    return [{ oid, table, view }];
  });
}
