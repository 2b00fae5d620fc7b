import type { Catalog, Column, ColumnType, ForeignKey, Relation } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import { didYouMean } from "../schema/suggest.ts";
import type { NodeSchema, QualifiedName } from "../schema/tree.ts";
import { formatName, formatPlace } from "./fields.ts";

/** How a node is joined to its parent. */
export type Link = DirectLink | ThroughLink;

/** The child's columns equal the parent's, pair by pair. */
export interface DirectLink {
  readonly kind: "direct";
  readonly pairs: readonly { readonly parent: string; readonly child: string }[];
  /**
   * Whose row holds the reference, so that moving an edge changes that row. It is informative: where no constraint
   * says so it is judged by uniqueness, and the events of both sides must be heard all the same, for the referenced
   * value may change as well.
   */
  readonly keyOn: "child" | "parent";
  /** At most one child row for each parent row, by a unique index on the child's link columns (or some of them). */
  readonly unique: boolean;
}

/** Parent and child are joined by rows of a link table. */
export interface ThroughLink {
  readonly kind: "through";
  readonly table: Relation;
  readonly toParent: readonly { readonly parent: string; readonly link: string }[];
  readonly toChild: readonly { readonly link: string; readonly child: string }[];
}

/**
 * Finds how a node is joined to its parent: by `relationship.foreign_key`, through the link table, or by the one
 * foreign key between the two tables. In a table that refers to itself the children are the rows that refer to
 * the parent.
 *
 * @param node the child's node
 * @param catalog holds the link table, where there is one
 * @throws {PgsyncError} FOREIGN_KEY_MISSING, FOREIGN_KEY_AMBIGUOUS, COLUMN_MISSING, TABLE_MISSING (the link table),
 *   SCHEMA_INVALID where the paired columns cannot be compared
 */
export function resolveLink(parent: Relation, child: Relation, node: NodeSchema, catalog: Catalog): Link {
  const relationship = node.relationship;
  const through = relationship?.throughTables[0];
  if (through !== undefined) return resolveThrough(parent, child, through, node, catalog);
  // PGSync accepts foreign_key beside through_tables and takes no notice of it, so it counts here only.
  const declared = relationship?.foreignKey ?? null;
  if (declared !== null) return resolveDeclared(parent, child, declared, node);
  return resolveDiscovered(parent, child, node);
}

/** Column pairs between two relations, written from the one that holds the foreign key. */
interface Candidate {
  readonly keyOn: "child" | "parent";
  readonly names: readonly string[];
  readonly pairs: DirectLink["pairs"];
}

function resolveDeclared(
  parent: Relation,
  child: Relation,
  declared: { readonly parent: readonly string[]; readonly child: readonly string[] },
  node: NodeSchema,
): DirectLink {
  if (declared.parent.length !== declared.child.length || declared.parent.length === 0) {
    throw new PgsyncError(
      "SCHEMA_INVALID",
      `${
        place(node)
      }: foreign_key pairs columns one by one, but names ${declared.parent.length} of the parent ` +
        `and ${declared.child.length} of the child.`,
    );
  }
  const pairs = declared.parent.map((name, index) => {
    const parentColumn = columnOf(parent, name, node);
    const childColumn = columnOf(child, declared.child[index] ?? "", node);
    requireComparable(parent, parentColumn, child, childColumn, node);
    return { parent: parentColumn.name, child: childColumn.name };
  });
  return directLink(pairs, keySide(parent, child, pairs), child);
}

function resolveDiscovered(parent: Relation, child: Relation, node: NodeSchema): DirectLink {
  const candidates = candidatesBetween(parent, child);
  const [only, ...others] = candidates;
  if (only === undefined) {
    const target = parent.primaryKey.length > 0 ? parent.primaryKey : ["id"];
    const columns = target.map((column) => `${parent.table}_${column}`);
    const list = (names: readonly string[]) => names.map(quoteIdentifier).join(", ");
    const views = [child, parent].filter((side) => side.view !== undefined);
    const [view] = views;
    if (view !== undefined) {
      throw new PgsyncError(
        "FOREIGN_KEY_MISSING",
        `${formatName(view)} is a view, which has no foreign keys, and ${place(node)} does not say how ` +
          `${formatName(child)} is joined to its parent ${formatName(parent)}.`,
        { remedy: `Name the columns there, as ${relationshipYaml(target, columns)} (whichever they are).` },
      );
    }
    throw new PgsyncError(
      "FOREIGN_KEY_MISSING",
      `No foreign key joins ${formatName(child)} to its parent ${formatName(parent)} at ${place(node)}.`,
      {
        remedy:
          `Name the columns in the schema file, as ${
            relationshipYaml(target, columns)
          } (whichever they are), ` +
          `or add the foreign key, as ALTER TABLE ${quoteQualified(child)} ADD FOREIGN KEY (${
            list(columns)
          }) ` +
          `REFERENCES ${quoteQualified(parent)} (${list(target)});`,
      },
    );
  }
  if (others.length > 0) {
    throw new PgsyncError(
      "FOREIGN_KEY_AMBIGUOUS",
      `${candidates.length} foreign keys could join ${formatName(child)} to its parent ${
        formatName(parent)
      } ` +
        `at ${place(node)}: ${candidates.map((candidate) => describe(candidate, parent, child)).join("; ")}.`,
      {
        remedy: `Say which one is meant: ${
          candidates.map((candidate) =>
            relationshipYaml(
              candidate.pairs.map((pair) => pair.parent),
              candidate.pairs.map((pair) => pair.child),
            )
          ).join(" or ")
        }`,
      },
    );
  }
  return directLink(only.pairs, only.keyOn, child);
}

/** The foreign keys between two relations in either direction, those with equal pairs once. */
function candidatesBetween(parent: Relation, child: Relation): Candidate[] {
  const found: Candidate[] = keysTo(child, parent).map((key) => ({
    keyOn: "child",
    names: [key.name],
    pairs: pairsOf(key).map(({ from, to }) => ({ parent: to, child: from })),
  }));
  // Between a table and itself each key would be seen twice: its children are the rows that refer to the parent.
  if (!sameTable(parent, child)) {
    found.push(
      ...keysTo(parent, child).map((key): Candidate => ({
        keyOn: "parent",
        names: [key.name],
        pairs: pairsOf(key).map(({ from, to }) => ({ parent: from, child: to })),
      })),
    );
  }
  const distinct = new Map<string, Candidate>();
  for (const candidate of found) {
    const key = JSON.stringify(candidate.pairs.map((pair) => [pair.parent, pair.child]).toSorted());
    const known = distinct.get(key);
    distinct.set(
      key,
      known === undefined ? candidate : { ...known, names: [...known.names, ...candidate.names] },
    );
  }
  return [...distinct.values()];
}

function resolveThrough(
  parent: Relation,
  child: Relation,
  through: QualifiedName,
  node: NodeSchema,
  catalog: Catalog,
): ThroughLink {
  const table = catalog.relation(through);
  if (table === null) {
    const near = catalog.suggest(through).map(formatName);
    throw new PgsyncError(
      "TABLE_MISSING",
      `The link table ${formatName(through)}, which ${place(node)} names, does not exist` +
        (near.length > 0 ? `; did you mean ${near.join(" or ")}?` : "."),
    );
  }
  if (sameTable(parent, child)) {
    // Two keys lead to the same table, and nothing says which of them is the parent's side.
    const keys = keysTo(table, parent);
    if (keys.length > 1) throw ambiguousThrough(table, parent, keys, node, true);
  }
  const toParent = onlyKey(table, parent, "parent", node);
  const toChild = onlyKey(table, child, "child", node);
  return {
    kind: "through",
    table,
    toParent: pairsOf(toParent).map(({ from, to }) => ({ parent: to, link: from })),
    toChild: pairsOf(toChild).map(({ from, to }) => ({ link: from, child: to })),
  };
}

function onlyKey(link: Relation, target: Relation, role: "parent" | "child", node: NodeSchema): ForeignKey {
  const keys = keysTo(link, target);
  const [only, ...others] = keys;
  if (only === undefined && (link.view !== undefined || target.view !== undefined)) {
    throw new PgsyncError(
      "FOREIGN_KEY_MISSING",
      `${formatName(link)} is to link ${formatName(target)} at ${
        place(node)
      }, but there are no foreign keys from or ` +
        "to views.",
      {
        remedy: `Draw ${
          formatName(link)
        } as a node of its own between the two, with relationship.foreign_key on both.`,
      },
    );
  }
  if (only === undefined) {
    const key = target.primaryKey.length > 0 ? target.primaryKey : ["id"];
    const columns = key.map((column) => quoteIdentifier(`${target.table}_${column}`)).join(", ");
    throw new PgsyncError(
      "FOREIGN_KEY_MISSING",
      `The link table ${formatName(link)} has no foreign key to the ${role} ${formatName(target)} at ${
        place(node)
      }.`,
      {
        remedy:
          `Add it, as ALTER TABLE ${quoteQualified(link)} ADD FOREIGN KEY (${columns}) REFERENCES ${
            quoteQualified(target)
          } (${key.map(quoteIdentifier).join(", ")}); or draw the link table as a node between the two, ` +
          "with relationship.foreign_key on both.",
      },
    );
  }
  if (others.length > 0) throw ambiguousThrough(link, target, keys, node, false);
  return only;
}

function ambiguousThrough(
  link: Relation,
  target: Relation,
  keys: readonly ForeignKey[],
  node: NodeSchema,
  self: boolean,
): PgsyncError {
  const list = keys.map((key) => `"${key.name}" (${key.columns.join(", ")})`).join(", ");
  const [first, second] = keys;
  const near = first === undefined ? "" : relationshipYaml(first.targetColumns, first.columns);
  const far = second === undefined ? "" : relationshipYaml(second.columns, second.targetColumns);
  return new PgsyncError(
    "FOREIGN_KEY_AMBIGUOUS",
    `The link table ${formatName(link)} has ${keys.length} foreign keys to ${formatName(target)} at ${
      place(node)
    }: ` +
      `${list}${self ? "; nothing says which of them is the parent's side" : ""}.`,
    {
      remedy: `Draw the link table as a node of its own between the two: on ${formatName(link)} ${near}, ` +
        `and below it on ${
          formatName({ schema: node.schema, table: node.table })
        } ${far}, or the other way round.`,
    },
  );
}

/** The foreign keys from one relation to another, those over the same pairs of columns once. */
function keysTo(from: Relation, to: Relation): ForeignKey[] {
  const distinct = new Map<string, ForeignKey>();
  for (const key of from.foreignKeys) {
    if (!sameTable(key.target, to)) continue;
    const pairs = JSON.stringify(pairsOf(key).map((pair) => [pair.from, pair.to]).toSorted());
    if (!distinct.has(pairs)) distinct.set(pairs, key);
  }
  return [...distinct.values()];
}

function pairsOf(key: ForeignKey): { from: string; to: string }[] {
  return key.columns.map((from, index) => ({ from, to: key.targetColumns[index] ?? from }));
}

function directLink(pairs: DirectLink["pairs"], keyOn: DirectLink["keyOn"], child: Relation): DirectLink {
  return { kind: "direct", pairs, keyOn, unique: isUnique(child, pairs.map((pair) => pair.child)) };
}

/**
 * Where a constraint lies over the same pairs, its side; else the side whose columns are not unique refers to the
 * side whose columns are; else the child.
 */
function keySide(parent: Relation, child: Relation, pairs: DirectLink["pairs"]): DirectLink["keyOn"] {
  const wanted = JSON.stringify(pairs.map((pair) => [pair.parent, pair.child]).toSorted());
  const declared = candidatesBetween(parent, child).find((candidate) =>
    JSON.stringify(candidate.pairs.map((pair) => [pair.parent, pair.child]).toSorted()) === wanted
  );
  if (declared !== undefined) return declared.keyOn;
  const parentUnique = isUnique(parent, pairs.map((pair) => pair.parent));
  const childUnique = isUnique(child, pairs.map((pair) => pair.child));
  return childUnique && !parentUnique ? "parent" : "child";
}

/** Whether rows that agree in these columns cannot be two: nulls never join, so they do not matter. */
function isUnique(relation: Relation, columns: readonly string[]): boolean {
  return relation.uniqueIndexes.some((index) => index.columns.every((column) => columns.includes(column)));
}

function columnOf(relation: Relation, name: string, node: NodeSchema): Column {
  const column = relation.columns.find((candidate) => candidate.name === name);
  if (column === undefined) {
    const guess = didYouMean(name, relation.columns.map((candidate) => candidate.name));
    throw new PgsyncError(
      "COLUMN_MISSING",
      `Table ${formatName(relation)} has no column "${name}", which foreign_key at ${
        place(node)
      } names${guess}`,
    );
  }
  return column;
}

/** Types that PostgreSQL compares with each other by an operator of its own, without a cast. */
const COMPARABLE = [
  ["int2", "int4", "int8", "numeric", "float4", "float8"],
  ["int2", "int4", "int8", "oid"],
  ["text", "varchar", "bpchar", "name", "citext"],
  ["date", "timestamp", "timestamptz"],
  ["inet", "cidr"],
  ["bit", "varbit"],
];

function requireComparable(
  parent: Relation,
  parentColumn: Column,
  child: Relation,
  childColumn: Column,
  node: NodeSchema,
): void {
  if (areComparable(parentColumn.type, childColumn.type)) return;
  throw new PgsyncError(
    "SCHEMA_INVALID",
    `foreign_key at ${place(node)} pairs ${formatName(parent)}."${parentColumn.name}" of type ` +
      `${parentColumn.type.sql} with ${
        formatName(child)
      }."${childColumn.name}" of type ${childColumn.type.sql}, ` +
      "which PostgreSQL does not compare and sort.",
    { remedy: "Name other columns, or give both the same type with ALTER TABLE … ALTER COLUMN … TYPE …." },
  );
}

/**
 * Types that have no order, some of them no equality either: rows cannot be gathered by them. (A constraint cannot join by
 * them anyway, for it needs a unique index.)
 */
const WITHOUT_ORDER: ReadonlySet<string> = new Set([
  ...["json", "jsonpath", "xml", "refcursor", "aclitem", "cid", "xid", "pg_snapshot", "txid_snapshot"],
  ...["box", "circle", "line", "lseg", "path", "point", "polygon"],
]);

function hasOrder({ name, element, attributes }: ColumnType): boolean {
  if (element !== null) return hasOrder(element);
  return !WITHOUT_ORDER.has(name) && (attributes ?? []).every((attribute) => hasOrder(attribute.type));
}

function areComparable(a: ColumnType, b: ColumnType): boolean {
  if (!hasOrder(a) || !hasOrder(b)) return false;
  if (a.category !== "base" || b.category !== "base") return a.name === b.name;
  return a.name === b.name || COMPARABLE.some((group) => group.includes(a.name) && group.includes(b.name));
}

function describe(candidate: Candidate, parent: Relation, child: Relation): string {
  const pairs = candidate.pairs.map((pair) =>
    candidate.keyOn === "child"
      ? `${child.table}.${pair.child} → ${parent.table}.${pair.parent}`
      : `${parent.table}.${pair.parent} → ${child.table}.${pair.child}`
  ).join(", ");
  return `${candidate.names.map((name) => `"${name}"`).join(" and ")} (${pairs})`;
}

/** The line to add to a relationship, in a form that is YAML and JSON alike. */
function relationshipYaml(parent: readonly string[], child: readonly string[]): string {
  const list = (names: readonly string[]) => `[${names.map((name) => JSON.stringify(name)).join(", ")}]`;
  return `foreign_key: {"parent": ${list(parent)}, "child": ${list(child)}}`;
}

function place(node: NodeSchema): string {
  return formatPlace(node.relationship?.place ?? node.place);
}

function sameTable(a: QualifiedName, b: QualifiedName): boolean {
  return a.schema === b.schema && a.table === b.table;
}
