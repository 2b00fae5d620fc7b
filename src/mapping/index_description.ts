import { z } from "zod";
import { indexLevel } from "../search/index.ts";
import type { JsonObject, JsonValue } from "../schema/tree.ts";
import type { Field } from "./fields.ts";
import { indexMapping } from "./index_mapping.ts";
import { isArray } from "./node_sql.ts";
import type { MappedDocument, MappedNode } from "./tree.ts";

/**
 * What the documents of an index look like and where their values come from, short enough to stand in the index itself.
 * Two of them are compared when the schema file has changed since the index was made: see `describeChanges`.
 */
export interface IndexDescription {
  readonly root: NodeDescription;
  /** The types of the root key's columns, in the order of `_id`. */
  readonly key: readonly string[];
  /** Their names; absent where an older version of this program described the index. */
  readonly keyColumns?: readonly string[] | undefined;
  /** The body under `mappings`. */
  readonly mapping: Record<string, unknown>;
  /** The body under `settings.index`. */
  readonly settings: Record<string, unknown>;
  readonly pipeline: string | null;
  readonly routing: string | null;
  readonly plugins: readonly string[];
}

/** A node of the tree. */
export interface NodeDescription {
  /** `schema.table`, quoted. */
  readonly table: string;
  /** What stands in the parent's field. */
  readonly form: "object" | "scalar" | "objects" | "scalars";
  /** The columns that join it to its parent; empty at the root. */
  readonly join: string;
  /** Changes of values, as the schema file has them. */
  readonly transform: string;
  /** By field. Of a scalar, the one value, under an empty name. */
  readonly fields: Readonly<Record<string, FieldDescription>>;
  readonly children: Readonly<Record<string, NodeDescription>>;
}

/** Where the value of a field comes from. */
export interface FieldDescription {
  /** The column, or the path into it. */
  readonly from: string;
  /** The column's type. */
  readonly type: string;
  /** What stands in JSON. */
  readonly json: string;
}

const fieldSchema = z.object({ from: z.string(), type: z.string(), json: z.string() });
const nodeSchema: z.ZodType<NodeDescription> = z.object({
  table: z.string(),
  form: z.enum(["object", "scalar", "objects", "scalars"]),
  join: z.string(),
  transform: z.string(),
  fields: z.record(z.string(), fieldSchema),
  get children() {
    return z.record(z.string(), nodeSchema);
  },
});
const descriptionSchema: z.ZodType<IndexDescription> = z.object({
  root: nodeSchema,
  key: z.array(z.string()),
  keyColumns: z.array(z.string()).optional(),
  mapping: z.record(z.string(), z.unknown()),
  settings: z.record(z.string(), z.unknown()),
  pipeline: z.string().nullable(),
  routing: z.string().nullable(),
  plugins: z.array(z.string()),
});

/** Describes what the schema file makes of the catalog. @throws PgsyncError as `indexMapping` */
export function indexDescription(document: MappedDocument): IndexDescription {
  const { schema, root, key } = document;
  return {
    root: nodeDescription(root),
    key: key.map((column) => column.type.sql),
    keyColumns: key.map((column) => column.name),
    mapping: indexMapping(document),
    settings: indexLevel(schema.setting),
    pipeline: schema.pipeline,
    routing: schema.routing,
    plugins: schema.plugins,
  };
}

/**
 * Whether documents have other ids than those in an index that was described so: another key has taken the place of the
 * root's, or its type prints otherwise.
 *
 * @param keptColumns the columns are known to be the same ones, whatever they are called now
 */
export function hasOtherKey(
  before: IndexDescription,
  after: IndexDescription,
  keptColumns: boolean,
): boolean {
  if (before.key.length !== after.key.length) return true;
  if (before.key.some((type, at) => !printsAlike(type, after.key[at] ?? ""))) return true;
  return !keptColumns && before.keyColumns !== undefined &&
    canonical(before.keyColumns) !== canonical(after.keyColumns);
}

/** Types of which a value that is converted from one to the other prints as before. */
const PRINTED_ALIKE = [["smallint", "integer", "bigint"], ["text", "character varying"]];

function printsAlike(before: string, after: string): boolean {
  return before === after || PRINTED_ALIKE.some((types) => types.includes(before) && types.includes(after));
}

/** The description as a text with its keys in order, so that equal descriptions are equal texts. */
export function descriptionText(description: IndexDescription): string {
  return canonical(description);
}

/** Reads what `descriptionText` wrote; null where it cannot be one. */
export function parseDescription(text: string): IndexDescription | null {
  try {
    const parsed = descriptionSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** JSON with the keys of every object in order. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => a < b ? -1 : 1));
  });
}

function nodeDescription(node: MappedNode): NodeDescription {
  const isScalar = node.schema.relationship?.variant === "scalar";
  const many = isArray(node);
  const { replace, concat } = node.schema.transform;
  const transform: JsonObject = {
    ...isEmpty(replace) ? {} : { replace },
    ...concat.length === 0 ? {} : { concat: [...concat] },
  };
  const [first] = node.fields;
  const fields = isScalar && first !== undefined
    ? { "": fieldDescription(first) }
    : Object.fromEntries(node.fields.map((field) => [field.name, fieldDescription(field)]));
  return {
    table: `${node.relation.schema}.${node.relation.table}`,
    form: isScalar ? many ? "scalars" : "scalar" : many ? "objects" : "object",
    join: joinText(node),
    transform: isEmpty(transform) ? "" : canonical(transform),
    fields,
    children: isScalar
      ? {}
      : Object.fromEntries(node.children.map((child) => [child.field, nodeDescription(child)])),
  };
}

function joinText({ link }: MappedNode): string {
  if (link === null) return "";
  const pairs = (of: readonly (readonly [string, string])[]) =>
    of.map(([left, right]) => `${left} = ${right}`).toSorted().join(", ");
  if (link.kind === "direct") return pairs(link.pairs.map(({ parent, child }) => [parent, child]));
  const { schema, table } = link.table;
  const near = pairs(link.toParent.map((pair) => [pair.parent, pair.link]));
  const far = pairs(link.toChild.map((pair) => [pair.link, pair.child]));
  return `${near} of ${schema}.${table}, ${far}`;
}

function fieldDescription(field: Field): FieldDescription {
  const path = field.operator === "#>"
    ? `#>${field.asText ? ">" : ""}{${field.steps.map((step) => step.value).join(",")}}`
    : field.steps.map((step, at) =>
      `->${field.asText && at === field.steps.length - 1 ? ">" : ""}${step.value}`
    )
      .join("");
  return { from: `${field.column}${path}`, type: field.type.sql, json: jsonForm(field) };
}

const NUMBERS = new Set(["int2", "int4", "int8", "float4", "float8", "numeric"]);

function jsonForm({ type, steps, asText, column }: Field): string {
  if (steps.length > 0) return asText ? "string" : "json";
  if (column === "xmin" || NUMBERS.has(type.name)) return "number";
  if (type.element !== null) return "list";
  if (type.category === "composite") return "object";
  if (type.name === "json" || type.name === "jsonb") return "json";
  return type.name === "bool" ? "boolean" : "string";
}

function isEmpty(object: Record<string, JsonValue>): boolean {
  return Object.keys(object).length === 0;
}
