import type { Catalog, ForeignKey, Relation } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import { quoteIdentifier, quoteQualified } from "../postgres/quote.ts";
import type { NodeSchema, QualifiedName } from "../schema/tree.ts";
import { formatName } from "./fields.ts";
import { keysTo, pairsOf, sameTable } from "./foreign_keys.ts";
import { placeOfRelationship, relationshipYaml } from "./relationship_text.ts";

/** Parent and child are joined by rows of a link table. */
export interface ThroughLink {
  readonly kind: "through";
  readonly table: Relation;
  readonly toParent: readonly { readonly parent: string; readonly link: string }[];
  readonly toChild: readonly { readonly link: string; readonly child: string }[];
}

/** Takes the foreign keys of the link table, one to each side. @throws PgsyncError as `resolveLink` */
export function resolveThrough(
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
      `The link table ${formatName(through)}, which ${placeOfRelationship(node)} names, does not exist` +
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
        placeOfRelationship(node)
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
        placeOfRelationship(node)
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
      placeOfRelationship(node)
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
