import type { Column, Relation } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import { didYouMean } from "../schema/suggest.ts";
import type { NodeSchema } from "../schema/tree.ts";
import { areComparable } from "./comparable_types.ts";
import { keepsEquality } from "./equal_sql.ts";
import { formatName } from "./fields.ts";
import { type KeyBetween, keysBetween, type LinkPair, samePairs } from "./foreign_keys.ts";
import { placeOfRelationship, relationshipYaml } from "./relationship_text.ts";

/** The child's columns equal the parent's, pair by pair. */
export interface DirectLink {
  readonly kind: "direct";
  readonly pairs: readonly LinkPair[];
  /**
   * Whose row holds the reference, so that moving an edge changes that row. It is informative: where no constraint
   * says so it is judged by uniqueness, and the events of both sides must be heard all the same, for the referenced
   * value may change as well.
   */
  readonly keyOn: "child" | "parent";
  /** At most one child row for each parent row, by a unique index on the child's link columns (or some of them). */
  readonly unique: boolean;
}

/** Takes the columns that `relationship.foreign_key` names. @throws PgsyncError as `resolveLink` */
export function resolveDeclared(
  parent: Relation,
  child: Relation,
  declared: { readonly parent: readonly string[]; readonly child: readonly string[] },
  node: NodeSchema,
): DirectLink {
  if (declared.parent.length !== declared.child.length || declared.parent.length === 0) {
    throw new PgsyncError(
      "SCHEMA_INVALID",
      `${
        placeOfRelationship(node)
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
  return directLink(pairs, keySide(parent, child, pairs), parent, child);
}

/** Takes the one foreign key between the two tables. @throws PgsyncError as `resolveLink` */
export function resolveDiscovered(parent: Relation, child: Relation, node: NodeSchema): DirectLink {
  const candidates = keysBetween(parent, child);
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
        `${formatName(view)} is a view, which has no foreign keys, and ${
          placeOfRelationship(node)
        } does not say how ` +
          `${formatName(child)} is joined to its parent ${formatName(parent)}.`,
        { remedy: `Name the columns there, as ${relationshipYaml(target, columns)} (whichever they are).` },
      );
    }
    throw new PgsyncError(
      "FOREIGN_KEY_MISSING",
      `No foreign key joins ${formatName(child)} to its parent ${formatName(parent)} at ${
        placeOfRelationship(node)
      }.`,
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
        `at ${placeOfRelationship(node)}: ${
          candidates.map((candidate) => describe(candidate, parent, child)).join("; ")
        }.`,
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
  return directLink(only.pairs, only.keyOn, parent, child);
}

function directLink(
  pairs: DirectLink["pairs"],
  keyOn: DirectLink["keyOn"],
  parent: Relation,
  child: Relation,
): DirectLink {
  // An index tells rows apart by their own types' equality.
  const kept = pairs.filter((pair) =>
    keepsEquality({ relation: child, column: pair.child }, { relation: parent, column: pair.parent })
  );
  return { kind: "direct", pairs, keyOn, unique: isUnique(child, kept.map((pair) => pair.child)) };
}

/**
 * Where a constraint lies over the same pairs, its side; else the side whose columns are not unique refers to the
 * side whose columns are; else the child.
 */
function keySide(parent: Relation, child: Relation, pairs: DirectLink["pairs"]): DirectLink["keyOn"] {
  const declared = keysBetween(parent, child).find((key) => samePairs(key.pairs, pairs));
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
        placeOfRelationship(node)
      } names${guess}`,
    );
  }
  return column;
}

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
    `foreign_key at ${placeOfRelationship(node)} pairs ${
      formatName(parent)
    }."${parentColumn.name}" of type ` +
      `${parentColumn.type.sql} with ${
        formatName(child)
      }."${childColumn.name}" of type ${childColumn.type.sql}, ` +
      "which PostgreSQL does not compare and sort.",
    { remedy: "Name other columns, or give both the same type with ALTER TABLE … ALTER COLUMN … TYPE …." },
  );
}

function describe(candidate: KeyBetween, parent: Relation, child: Relation): string {
  const pairs = candidate.pairs.map((pair) =>
    candidate.keyOn === "child"
      ? `${child.table}.${pair.child} → ${parent.table}.${pair.parent}`
      : `${parent.table}.${pair.parent} → ${child.table}.${pair.child}`
  ).join(", ");
  return `${candidate.names.map((name) => `"${name}"`).join(" and ")} (${pairs})`;
}
