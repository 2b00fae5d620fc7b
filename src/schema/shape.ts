/**
 * The schema file's format as one zod schema: the keys, their types, and what each is for. Checks across keys and
 * inside strings are in rules.ts; `z.toJSONSchema(schemaFileShape, { io: "input" })` gives the JSON Schema.
 */
import { z } from "zod";

/** A key with null is the same as no key: YAML writes an empty one that way. */
const text = z.string().min(1);
const texts = z.array(text);
const anyObject = z.record(z.string(), z.json());

/** Says instead of "must be …" that a key is missing and what to write. */
function missing(sentence: string): { error: (issue: { input?: unknown }) => string | undefined } {
  return { error: (issue) => issue.input === undefined || issue.input === null ? sentence : undefined };
}

const keyColumns = z.union([text, texts.min(1), z.record(z.string(), z.union([text, texts.min(1)]))], {
  error: (issue) =>
    issue.input === undefined ? undefined : "must be a list of columns, one column, or {table: [columns]}",
});

const foreignKeyShape = z.strictObject({
  parent: keyColumns.meta({ description: "Columns of the parent." }),
  child: keyColumns.meta({ description: "Columns of the child, in the order of the parent's." }),
}).meta({ description: "The columns that join child and parent, where no constraint says it." });

const relationshipShape = z.strictObject({
  variant: z.enum(
    ["object", "scalar"],
    missing("`variant` is missing: add `variant: object` (or scalar: the first column's value alone)"),
  ).meta({ description: "An object, or the first column's value alone." }),
  type: z.enum(
    ["one_to_one", "one_to_many"],
    missing("`type` is missing: add `type: one_to_many` (a list) or `type: one_to_one`"),
  ).meta({ description: "A list, or one." }),
  through_tables: texts.max(1, {
    error: "names more than one link table: draw the way through the others as nodes of their own",
  }).nullish().meta({ description: "The link table between parent and child, as table or schema.table." }),
  foreign_key: foreignKeyShape.nullish(),
}).meta({ description: "How the node is joined to its parent." });

/** Renames of a node's fields; nested under the label of a child or the name of a JSON column. */
export type RenameInput = { [field: string]: string | number | RenameInput };
const renameShape: z.ZodType<RenameInput, RenameInput> = z.record(
  z.string(),
  z.union([text, z.int(), z.lazy(() => renameShape)], {
    error: "must be the field's new name (or an object of renames, for a child)",
  }),
);

/** Replacements of a node's values: field → {from: to}, nested likewise. */
export type ReplaceInput = { [field: string]: string | ReplaceInput };
const replacePairs: z.ZodType<ReplaceInput, ReplaceInput> = z.record(
  z.string(),
  z.union([z.string(), z.lazy(() => replacePairs)], {
    error: "must be the text to put in (or an object of replacements, for a child)",
  }),
);

const concatShape = z.strictObject({
  columns: texts.min(1).meta({ description: "Fields, by their renamed names, and literal texts." }),
  destination: text.meta({ description: "The field that is made." }),
  delimiter: z.string().nullish().meta({ description: "What stands between; nothing by default." }),
});

const transformShape = z.strictObject({
  rename: renameShape.nullish().meta({ description: "Column → name of the field." }),
  replace: z.record(z.string(), replacePairs).nullish().meta({ description: "Field → {from: to}." }),
  concat: z.union([concatShape, z.array(concatShape)], {
    error: "must be an object with columns and destination, or a list of them",
  }).nullish().meta({ description: "Fields joined into one." }),
  mapping: z.record(z.string(), anyObject).nullish().meta({
    description: "Field → Elasticsearch type and parameters.",
  }),
  move: anyObject.nullish().meta({ description: "Declared by PGSync; without effect." }),
}).meta({ description: "Changes to the node's fields." });

const nodeKeys = {
  table: text.meta({ description: "The table or view." }),
  schema: text.nullish().meta({
    description: "Its schema; public by default, also below a node of another.",
  }),
  columns: z.array(z.unknown()).nullish().meta({
    description: "Columns and JSON paths (doc->a->0, doc->>a, doc#>{a,b}); absent or empty: all.",
  }),
  label: text.nullish().meta({ description: "The field under which the node stands; the table by default." }),
  primary_key: texts.nullish().meta({ description: "The key of a view." }),
  base_tables: texts.nullish().meta({ description: "The tables whose changes matter to a view." }),
  transform: transformShape.nullish(),
};

const childKeys = z.strictObject({
  ...nodeKeys,
  relationship: z.strictObject(
    relationshipShape.shape,
    missing("`relationship` is missing: add `relationship: {variant: object, type: one_to_many}`"),
  ).meta({ description: "How the node is joined to its parent." }),
});

/** A node below another, of the right shape. */
export type ChildInput = z.output<typeof childKeys> & { children?: ChildInput[] | null | undefined };

/** A node below another; the nodes below it are of the same shape. */
const childShape: z.ZodType<ChildInput> = childKeys.extend({
  children: z.array(z.lazy(() => childShape)).nullish(),
});

/** The node at the top. */
const rootShape = z.strictObject({
  ...nodeKeys,
  children: z.array(childShape).nullish(),
  relationship: relationshipShape.nullish(),
}, {
  error: (issue) => Array.isArray(issue.input) ? listOfNodes(issue.input) : undefined,
});

/** One document of the schema file. */
export const documentShape = z.strictObject({
  database: text.meta({ description: "The PostgreSQL database." }),
  index: text.nullish().meta({ description: "The index; the database's name by default." }),
  nodes: rootShape.meta({ description: "The tree of tables, from the root." }),
  plugins: texts.nullish().meta({ description: "Plugins, in the order in which they run." }),
  pipeline: text.nullish().meta({ description: "The ingest pipeline." }),
  routing: text.nullish().meta({ description: "The field whose value routes the document." }),
  setting: anyObject.nullish().meta({ description: "Settings of the index." }),
  mapping: anyObject.nullish().meta({
    description: "Properties of the index, or its whole mapping when it has dynamic_templates.",
  }),
  mappings: anyObject.nullish().meta({ description: "The whole mapping of the index." }),
});

/** The whole file. */
export const schemaFileShape = z.union([documentShape, z.array(documentShape)]).meta({
  title: "pgsync schema file",
});

/** PGSync 1 wrote `nodes` as a list; the hint shows the form of today with the user's own table. */
function listOfNodes(nodes: readonly unknown[]): string {
  const first = z.object({ table: z.string() }).safeParse(nodes[0]);
  const table = first.success ? first.data.table : "book";
  const several = nodes.length > 1 ? ", and give every further root a document of its own" : "";
  return `is a list, the form of PGSync 1: write it as an object, {"table": "${table}", …}${several}`;
}

/** A document of the right shape. */
export type DocumentInput = z.output<typeof documentShape>;
/** The node at the top, of the right shape. */
export type RootInput = z.output<typeof rootShape>;
