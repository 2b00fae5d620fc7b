import type { ColumnType } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import { type DocumentSchema, isObject, type JsonObject, type JsonValue } from "../schema/tree.ts";
import { findTemplate, type SeenField } from "./dynamic_templates.ts";
import { type Field, formatPlace } from "./fields.ts";
import type { MappedDocument, MappedNode } from "./tree.ts";

/**
 * Derives the mapping of an index from the types that PostgreSQL knows, so that no field's type depends on which
 * document comes first. What the schema file says of a field wins: its `mapping` over the nodes' mappings over its
 * `mappings` (the order in which PGSync lets one replace the other; here they are merged field by field).
 *
 * - Where the file has dynamic templates, the fields that they take are left to them.
 * - Where it sets `dynamic: false` (or `runtime`), only the fields that it names are mapped.
 * - Left to dynamic mapping: json and jsonb (a scalar would not fit an object, nor an object a scalar), JSON paths,
 *   hstore, and types of extensions that may have a form of their own in JSON.
 *
 * Numbers and dates ignore what is malformed (NaN, infinity, dates before Christ or beyond the year 9999): the
 * document is indexed without that field. The document itself keeps each value as PostgreSQL gave it, for
 * `_source` is the text that was sent; only the index of a numeric column is limited to a double's precision.
 *
 * @returns the body under `mappings`, without `_meta`
 * @throws {PgsyncError} SCHEMA_INVALID where a field of the root has a name that the search engine keeps for itself
 */
export function indexMapping(document: MappedDocument): JsonObject {
  refuseReservedNames(document);
  const given = givenMapping(document);
  const routing: JsonObject = document.schema.routing === null ? {} : { _routing: { required: true } };
  if (isClosed(given)) return { ...routing, ...given };
  const properties = applyTemplates(nodeProperties(document.root), given, "");
  const derived: JsonObject = { dynamic_templates: LENIENT_TEMPLATES, properties };
  return { ...routing, ...mergeBodies(derived, given) };
}

/**
 * Types for what stays dynamic, near to what Elasticsearch guesses, but without refusing a document in which such a field
 * then holds something else. Numbers have one type, whole or not: a document with a 3 and a 1.5 at one path would ask for a
 * long and a float at once, and be refused.
 */
const LENIENT_TEMPLATES: JsonValue[] = [
  { dates: { match_mapping_type: "date", mapping: { type: "date", ignore_malformed: true } } },
  { integers: { match_mapping_type: "long", mapping: { type: "double", ignore_malformed: true } } },
  { decimals: { match_mapping_type: "double", mapping: { type: "double", ignore_malformed: true } } },
];

/** Names that Elasticsearch keeps for itself at a document's root: it refuses them, or gives them a meaning of its own. */
const RESERVED_NAMES = new Set([
  ...[
    "_id",
    "_index",
    "_routing",
    "_source",
    "_field_names",
    "_ignored",
    "_ignored_source",
    "_version",
    "_seq_no",
  ],
  ...["_primary_term", "_nested_path", "_doc_count", "_tier", "_data_stream_timestamp"],
]);

/** What dynamic mapping makes of a string. */
const TEXT: JsonObject = { type: "text", fields: { keyword: { type: "keyword", ignore_above: 256 } } };
const LONG: JsonObject = { type: "long", ignore_malformed: true };
/** The default format takes what PostgreSQL prints in JSON: ISO 8601, up to nine decimals, with or without a zone. */
const DATE: JsonObject = { type: "date", ignore_malformed: true };
const DOUBLE: JsonObject = { type: "double", ignore_malformed: true };
const INTEGER: JsonObject = { type: "integer", ignore_malformed: true };

/** Base types by name. What is printed as a JSON string, and is no date, is text. */
const BY_NAME: ReadonlyMap<string, JsonObject> = new Map([
  ["int2", INTEGER],
  ["int4", INTEGER],
  ["int8", LONG],
  ["float4", { type: "float", ignore_malformed: true }],
  ["float8", DOUBLE],
  ["numeric", DOUBLE],
  ["bool", { type: "boolean" }],
  ["date", DATE],
  ["timestamp", DATE],
  ["timestamptz", DATE],
  ...[
    ...["text", "varchar", "bpchar", "name", "char", "citext", "uuid", "xml", "bytea", "bit", "varbit"],
    ...["time", "timetz", "interval", "money", "inet", "cidr", "macaddr", "macaddr8"],
    ...["point", "line", "lseg", "box", "path", "polygon", "circle", "tsvector", "tsquery", "jsonpath"],
    ...["oid", "xid", "xid8", "cid", "tid", "pg_lsn", "pg_snapshot", "txid_snapshot", "refcursor", "aclitem"],
    ...[
      "regclass",
      "regtype",
      "regrole",
      "regproc",
      "regprocedure",
      "regoper",
      "regoperator",
      "regnamespace",
    ],
    ...["regconfig", "regdictionary", "regcollation"],
  ].map((name): [string, JsonObject] => [name, TEXT]),
]);

/** The mapping of a type's values; null leaves them to dynamic mapping. */
function typeProperty(type: ColumnType): JsonObject | null {
  // Elasticsearch has no arrays: a field holds any number of values of its type.
  if (type.element !== null) return typeProperty(type.element);
  switch (type.category) {
    case "composite": {
      const properties: JsonObject = {};
      for (const { name, type: inner } of type.attributes ?? []) {
        const property = typeProperty(inner);
        if (property !== null) properties[name] = property;
      }
      return { properties };
    }
    case "enum":
    case "range":
    case "multirange":
      return TEXT;
    default:
      return BY_NAME.get(type.name) ?? null;
  }
}

function fieldProperty(field: Field): JsonObject | null {
  if (field.steps.length > 0) return field.asText ? TEXT : null;
  if (field.column === "xmin" && field.type.name === "xid") return LONG;
  return typeProperty(field.type);
}

function nodeProperties(node: MappedNode): JsonObject {
  const properties: JsonObject = {};
  for (const field of node.fields) {
    const property = fieldProperty(field);
    if (property !== null) properties[field.name] = property;
  }
  for (const child of node.children) {
    const property = childProperty(child);
    if (property === null) delete properties[child.field];
    else properties[child.field] = property;
  }
  for (const { destination } of node.schema.transform.concat) {
    if (typeof destination === "string") properties[destination] = TEXT;
  }
  return properties;
}

function childProperty(child: MappedNode): JsonObject | null {
  if (child.schema.relationship?.variant !== "scalar") return { properties: nodeProperties(child) };
  const [first] = child.fields;
  return first === undefined ? null : fieldProperty(first);
}

/** What the schema file says, merged. */
function givenMapping({ schema, root }: MappedDocument): JsonObject {
  const nodes = nodeMapping(root);
  const body = Object.keys(nodes).length === 0 ? {} : { properties: nodes };
  return mergeBodies(mergeBodies(schema.mappings ?? {}, body), wholeMapping(schema.mapping));
}

/** The mappings of the nodes' transforms, each under its label. */
function nodeMapping(node: MappedNode): JsonObject {
  const properties: JsonObject = {};
  for (const [field, definition] of Object.entries(node.schema.transform.mapping)) {
    properties[field] = isObject(definition) ? toDefinition(definition) : definition;
  }
  for (const child of node.children) {
    const inner = nodeMapping(child);
    if (Object.keys(inner).length === 0) continue;
    properties[child.field] = mergeDefinitions({ properties: inner }, objectOf(properties[child.field]));
  }
  return properties;
}

/** A mapping that reaches into a child or a JSON column may leave `properties` out. */
function toDefinition(definition: JsonObject): JsonObject {
  const fields = Object.entries(definition);
  const known = ["properties", "fields", "meta"];
  const isNesting = typeof definition["type"] !== "string" && fields.length > 0 &&
    fields.every(([name, inner]) => isObject(inner) && !known.includes(name));
  if (!isNesting) return definition;
  return {
    properties: Object.fromEntries(
      fields.map(([name, inner]) => [name, isObject(inner) ? toDefinition(inner) : inner]),
    ),
  };
}

/** `mapping` holds properties; or the whole, when it has dynamic_templates or `properties` that are no field. */
function wholeMapping(mapping: DocumentSchema["mapping"]): JsonObject {
  if (mapping === null) return {};
  if (Object.hasOwn(mapping, "dynamic_templates")) return mapping;
  const inner = mapping["properties"];
  const isField = isObject(inner) && (typeof inner["type"] === "string" || isObject(inner["properties"]));
  return isObject(inner) && !isField ? mapping : { properties: mapping };
}

function mergeBodies(base: JsonObject, over: JsonObject): JsonObject {
  const properties = mergeProperties(objectOf(base["properties"]), objectOf(over["properties"]));
  const body = { ...base, ...over };
  return Object.keys(properties).length === 0 ? body : { ...body, properties };
}

function mergeProperties(base: JsonObject, over: JsonObject): JsonObject {
  const merged: JsonObject = { ...base };
  for (const [field, definition] of Object.entries(over)) {
    const known = Object.hasOwn(base, field) ? base[field] : undefined;
    merged[field] = isObject(known) && isObject(definition)
      ? mergeDefinitions(known, definition)
      : definition;
  }
  return merged;
}

/** An object's fields are merged one by one; any other definition is taken whole, without what was derived. */
function mergeDefinitions(base: JsonObject, over: JsonObject): JsonObject {
  const { type } = over;
  const isObjectType = type === undefined
    ? isObject(over["properties"])
    : type === "object" || type === "nested";
  if (Object.keys(over).length === 0) return base;
  if (!isObject(base["properties"]) || !isObjectType || isClosed(over)) return over;
  return mergeBodies(base, over);
}

/** Whether fields that are not named shall stay unmapped. */
function isClosed(definition: JsonObject): boolean {
  const { dynamic, enabled } = definition;
  return enabled === false || enabled === "false" || dynamic === false || dynamic === "false" ||
    dynamic === "runtime";
}

/** Takes out what a dynamic template of the schema file would map; objects get the template's parameters instead. */
function applyTemplates(properties: JsonObject, given: JsonObject, path: string): JsonObject {
  const templates = given["dynamic_templates"];
  if (!Array.isArray(templates)) return properties;
  const left: JsonObject = {};
  for (const [name, definition] of Object.entries(properties)) {
    const own = path === "" ? name : `${path}.${name}`;
    if (!isObject(definition)) continue;
    const kind = seenAs(definition, given);
    const template = findTemplate(templates, { path: own, kind });
    if (kind !== "object") {
      if (template === null) left[name] = definition;
      continue;
    }
    const parameters = template?.["match_mapping_type"] === "object" ? objectOf(template["mapping"]) : {};
    const inner = applyTemplates(objectOf(definition["properties"]), given, own);
    left[name] = mergeDefinitions({ properties: inner }, parameters);
  }
  return left;
}

/** What Elasticsearch would detect in the values of a field that was derived so. */
function seenAs({ type }: JsonObject, given: JsonObject): SeenField["kind"] {
  switch (type) {
    case "integer":
    case "long":
      return "long";
    case "float":
    case "double":
      return "double";
    case "boolean":
      return "boolean";
    case "date":
      return given["date_detection"] === false ? "string" : "date";
    case "text":
      return "string";
    default:
      return "object";
  }
}

function refuseReservedNames({ root }: MappedDocument): void {
  const names = [...root.fields.map((field) => field.name), ...root.children.map((child) => child.field)];
  const reserved = names.find((name) => RESERVED_NAMES.has(name));
  if (reserved === undefined) return;
  throw new PgsyncError(
    "SCHEMA_INVALID",
    `The node at ${
      formatPlace(root.schema.place)
    } gives a field "${reserved}", a name that the search engine keeps ` +
      "for itself.",
    { remedy: `Give it another name with transform.rename, or leave it out of columns.` },
  );
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isObject(value) ? value : {};
}
