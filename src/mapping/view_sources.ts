import type { Catalog, Relation, ViewTable } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import { quoteQualified } from "../postgres/quote.ts";
import type { NodeSchema, QualifiedName } from "../schema/tree.ts";
import { formatPlace } from "./fields.ts";
import { sameTable } from "./foreign_keys.ts";

/** How the rows of a table bear on the rows of a plain view. */
export interface BaseTable {
  readonly relation: Relation;
  /**
   * Columns of the table that stand for columns of the view: a changed row touches only the view rows that hold its old or
   * its new values of them. Empty where it may touch any.
   */
  readonly passed: ReadonlyMap<string, string>;
  /** The columns that the view uses, which may be none; null: any. */
  readonly used: readonly string[] | null;
}

/**
 * The tables whose changes matter to a plain view: those of `base_tables`, or else those that it reads. None for tables and
 * for materialised views, which show the rows of their last refresh.
 *
 * @param catalog holds the tables, where the schema file names them
 * @throws PgsyncError SCHEMA_INVALID, SCHEMA_UNSUPPORTED
 */
export function baseTables(node: NodeSchema, relation: Relation, catalog: Catalog): BaseTable[] {
  const { view } = relation;
  if (relation.kind !== "view" || view === undefined) return [];
  const given = node.baseTables;
  if (given.length === 0) {
    return view.tables.map((table) => {
      if (table.unheard !== null) throw unheard(node, table);
      return { relation: found(node, table, catalog), passed: table.passed, used: table.used };
    });
  }
  const distinct = new Map(given.map((name) => [quoteQualified(name), name]));
  return [...distinct.values()].map((name) => {
    const table = found(node, name, catalog);
    const known = view.tables.find((candidate) => sameTable(candidate, name));
    return {
      relation: table,
      passed: known?.passed ?? new Map(),
      used: known === undefined ? null : known.used,
    };
  });
}

/** What an operator should know of a node's view: changes that nobody will hear of. */
export function viewWarnings(node: NodeSchema, relation: Relation): string[] {
  const { view } = relation;
  if (view === undefined) return [];
  const name = quoteQualified(relation);
  const given = node.baseTables;
  if (relation.kind !== "view") {
    return given.length === 0
      ? []
      : [`${name} is a materialised view: what is refreshed counts, and its base_tables have no effect`];
  }
  const warnings: string[] = [];
  const left = view.tables.filter((table) => !given.some((other) => sameTable(other, table)));
  if (given.length > 0 && left.length > 0) {
    warnings.push(
      `${name} reads ${left.map(quoteQualified).join(", ")} as well, which its base_tables leave out: ` +
        "what changes there reaches a document only with its next change",
    );
  }
  if (given.length === 0 && view.opaque.length > 0) {
    warnings.push(
      `${name} calls ${
        view.opaque.join(", ")
      }: if tables are read in there, name them in base_tables beside the ` +
        "others, for PostgreSQL does not tell of them",
    );
  }
  if (view.asksForTime) {
    warnings.push(
      `${name} depends on the time: what it shows by and by, without a change of a table, reaches a document only with its next ` +
        "change, or by pgsync verify --repair",
    );
  }
  return warnings;
}

function found(node: NodeSchema, name: QualifiedName, catalog: Catalog): Relation {
  const relation = catalog.relation(name);
  const place = formatPlace(node.place);
  if (relation === null) {
    throw new PgsyncError("TABLE_MISSING", `Base table ${quoteQualified(name)} at ${place} does not exist.`);
  }
  if (relation.kind === "table" || relation.kind === "partitioned") return relation;
  throw new PgsyncError(
    "SCHEMA_INVALID",
    `base_tables at ${place} names ${
      quoteQualified(name)
    }, which is a ${relation.kind}: only tables have changes to follow.`,
    {
      remedy: relation.kind === "foreign table"
        ? "Leave it out: PostgreSQL does not stream the changes of a foreign table."
        : "Name the tables that it reads, or leave base_tables out: then they are found by themselves.",
    },
  );
}

function unheard(node: NodeSchema, table: ViewTable): PgsyncError {
  return new PgsyncError(
    "SCHEMA_UNSUPPORTED",
    `View ${quoteQualified(node)} at ${formatPlace(node.place)} reads ${
      quoteQualified(table)
    }, ${table.unheard}, ` +
      "whose changes PostgreSQL does not stream.",
    {
      remedy:
        "Name the other tables in base_tables, if its changes need not be followed; or make a materialised view.",
    },
  );
}
