/** From a checked document to the tree: defaults filled in, forms made one, what has no effect said. */
import { isDeepStrictEqual } from "node:util";
import { parseColumn } from "./column_path.ts";
import type { Path } from "./place.ts";
import type { Finding } from "./problem.ts";
import type { ChildInput, DocumentInput, RenameInput, RootInput } from "./shape.ts";
import type { SourceDocument } from "./syntax.ts";
import type {
  DocumentSchema,
  JsonObject,
  NodeSchema,
  Place,
  QualifiedName,
  Relationship,
  Transform,
} from "./tree.ts";

/** A document's tree, and what it says without effect. */
export interface BuiltDocument {
  readonly document: DocumentSchema;
  readonly warnings: readonly Finding[];
}

const DEFAULT_SCHEMA = "public";

/**
 * Builds the tree of a document that has passed all checks.
 *
 * @param input the document
 * @param place finds places in it
 */
export function buildDocument(input: DocumentInput, place: SourceDocument["place"]): BuiltDocument {
  const builder = new Builder(place);
  const document: DocumentSchema = {
    database: input.database,
    index: input.index ?? input.database,
    root: builder.root(input.nodes, ["nodes"]),
    plugins: input.plugins ?? [],
    pipeline: input.pipeline ?? null,
    routing: input.routing ?? null,
    setting: input.setting ?? null,
    mapping: input.mapping ?? null,
    mappings: input.mappings ?? null,
    place: place([], "value"),
  };
  return { document, warnings: builder.warnings };
}

class Builder {
  readonly warnings: Finding[] = [];

  constructor(private readonly place: (path: Path, at: "key" | "value") => Place) {}

  root(input: RootInput, path: Path): NodeSchema {
    if (input.relationship) {
      this.warn([...path, "relationship"], "key", "has no effect at the root, which has no parent");
    }
    return this.node(input, path, null);
  }

  private node(input: RootInput | ChildInput, path: Path, relationship: Relationship | null): NodeSchema {
    return {
      table: input.table,
      schema: input.schema ?? DEFAULT_SCHEMA,
      label: input.label ?? input.table,
      columns: this.columns(input.columns ?? [], [...path, "columns"]),
      primaryKey: input.primary_key ?? [],
      baseTables: (input.base_tables ?? []).map((name) => qualify(name, input.schema ?? DEFAULT_SCHEMA)),
      relationship,
      transform: this.transform(input, path, relationship === null),
      children: this.children(input.children ?? [], [...path, "children"]),
      place: this.place(path, "value"),
    };
  }

  /** Of several columns with one field the last wins, as keys of one object do. */
  private columns(columns: readonly unknown[], path: Path): string[] {
    const byField = new Map<string, string>();
    columns.forEach((column, index) => {
      if (typeof column !== "string") {
        this.warn([...path, index], "value", "is no text and is ignored");
        return;
      }
      const { field } = parseColumn(column);
      const before = byField.get(field);
      if (before !== undefined) {
        const message = before === column
          ? `names "${column}" again`
          : `gives the field "${field}" as "${before}" does: the last wins`;
        this.warn([...path, index], "value", message);
        byField.delete(field);
      }
      byField.set(field, column);
    });
    return [...byField.values()];
  }

  /** Of several children with one label the last wins; wholly equal ones are one. */
  private children(inputs: readonly ChildInput[], path: Path): NodeSchema[] {
    const lastOf = new Map<string, number>();
    inputs.forEach((input, index) => lastOf.set(input.label ?? input.table, index));
    const nodes: NodeSchema[] = [];
    inputs.forEach((input, index) => {
      const label = input.label ?? input.table;
      const last = lastOf.get(label) ?? index;
      if (last === index) {
        const relationship = this.relationship(input, [...path, index]);
        nodes.push(this.node(input, [...path, index], relationship));
        return;
      }
      const message = isDeepStrictEqual(input, inputs[last])
        ? "stands twice among its siblings: once is enough"
        : `has the label "${label}" of a later sibling and is ignored: give it another label`;
      this.warn([...path, index], "value", message);
    });
    return nodes;
  }

  private relationship(child: ChildInput, childPath: Path): Relationship {
    const input = child.relationship;
    const path = [...childPath, "relationship"];
    const childSchema = child.schema ?? DEFAULT_SCHEMA;
    const throughTables = (input.through_tables ?? []).map((name) => qualify(name, childSchema));
    let foreignKey: Relationship["foreignKey"] = null;
    if (input.foreign_key && throughTables.length > 0) {
      const message = "has no effect beside through_tables: the link table's own foreign keys count";
      this.warn([...path, "foreign_key"], "key", message);
    } else if (input.foreign_key) {
      foreignKey = { parent: toColumns(input.foreign_key.parent), child: toColumns(input.foreign_key.child) };
    }
    return {
      type: input.type,
      variant: input.variant,
      throughTables,
      foreignKey,
      place: this.place(path, "value"),
    };
  }

  private transform(input: RootInput | ChildInput, nodePath: Path, isRoot: boolean): Transform {
    const transform = input.transform ?? {};
    const path = [...nodePath, "transform"];
    const mapping: JsonObject = transform.mapping ?? {};
    const move = transform.move ?? null;
    if (move !== null) this.warn([...path, "move"], "key", "has no effect, neither here nor in PGSync");
    // PGSync looks a child's transforms up by its label, and finds none for null; the mapping goes by the node.
    if (input.label === null && !isRoot) {
      const lost = [transform.rename, transform.replace, transform.concat]
        .some((part) => part !== null && part !== undefined && Object.keys(part).length > 0);
      if (lost) {
        this.warn(
          path,
          "key",
          "does not apply, because the label is null: remove `label`, or give it a name",
        );
      }
      return { rename: {}, replace: {}, concat: [], mapping, move };
    }
    const concat = transform.concat ?? [];
    return {
      rename: toNames(transform.rename ?? {}),
      replace: transform.replace ?? {},
      concat: (Array.isArray(concat) ? concat : [concat]).map(withoutUndefined),
      mapping,
      move,
    };
  }

  private warn(path: Path, at: "key" | "value", message: string): void {
    this.warnings.push({ path, at, message });
  }
}

function qualify(name: string, defaultSchema: string): QualifiedName {
  const dot = name.indexOf(".");
  return dot < 0
    ? { schema: defaultSchema, table: name }
    : { schema: name.slice(0, dot), table: name.slice(dot + 1) };
}

type KeyColumns = string | readonly string[];

function toColumns(columns: KeyColumns | Readonly<Record<string, KeyColumns>>): string[] {
  if (typeof columns === "string") return [columns];
  if (isList(columns)) return [...columns];
  return Object.values(columns).flatMap((inner) => toColumns(inner));
}

function isList(columns: object): columns is readonly string[] {
  return Array.isArray(columns);
}

/** A field may be renamed to a number; it is named by the number's text. */
function toNames(rename: RenameInput): JsonObject {
  const entries = Object.entries(rename).map(([field, name]) =>
    [field, typeof name === "object" ? toNames(name) : String(name)] as const
  );
  return Object.fromEntries(entries);
}

function withoutUndefined(
  concat: { columns: string[]; destination: string; delimiter?: string | null | undefined },
): JsonObject {
  return { columns: concat.columns, destination: concat.destination, delimiter: concat.delimiter ?? "" };
}
