/**
 * What the shape cannot say: rules inside strings and between keys. They are checked on the raw document, wrong
 * parts passed over, so that one run reports everything that is wrong.
 */
import { PgsyncError } from "../errors/error.ts";
import { parseColumn } from "./column_path.ts";
import { FIELD_PARAMETERS, FIELD_TYPES } from "./field_types.ts";
import { indexNameFault } from "./index_name.ts";
import type { Path } from "./place.ts";
import type { Finding } from "./problem.ts";
import { didYouMean, nearest } from "./suggest.ts";
import { describeValue, isJsonObject } from "./syntax.ts";
import type { JsonObject, JsonValue } from "./tree.ts";

/** Finds what breaks a rule in one document, whether or not its shape is right. */
export function checkRules(document: JsonValue): Finding[] {
  if (!isJsonObject(document)) return [];
  const findings: Finding[] = [];
  checkIndexName(document, findings);
  checkNode(document["nodes"], ["nodes"], false, findings);
  return findings;
}

function checkIndexName(document: JsonObject, findings: Finding[]): void {
  const index = document["index"] ?? null;
  const name = index ?? document["database"];
  if (typeof name !== "string" || name === "") return;
  const fault = indexNameFault(name);
  if (fault === null) return;
  findings.push(
    index === null
      ? value(["database"], `serves as the name of the index too, which ${fault}: add \`index\``)
      : value(["index"], `the name of an index ${fault}`),
  );
}

function checkNode(node: JsonValue | undefined, path: Path, isChild: boolean, findings: Finding[]): void {
  if (!isJsonObject(node)) return;
  checkColumns(node["columns"], [...path, "columns"], findings);
  const relationship = node["relationship"];
  const isScalar = isChild && isJsonObject(relationship) && relationship["variant"] === "scalar";
  if (isChild && isJsonObject(relationship)) {
    checkRelationship(relationship, [...path, "relationship"], findings);
  }
  const transform = node["transform"];
  if (isJsonObject(transform)) checkTransform(transform, [...path, "transform"], isScalar, findings);
  const children = node["children"];
  if (!Array.isArray(children)) return;
  children.forEach((child, index) => checkNode(child, [...path, "children", index], true, findings));
}

function checkColumns(columns: JsonValue | undefined, path: Path, findings: Finding[]): void {
  if (!Array.isArray(columns)) return;
  columns.forEach((column, index) => {
    if (typeof column !== "string") return;
    try {
      parseColumn(column);
    } catch (error) {
      if (!(error instanceof PgsyncError)) throw error;
      findings.push(value([...path, index], error.message));
    }
  });
}

function checkRelationship(relationship: JsonObject, path: Path, findings: Finding[]): void {
  const through = relationship["through_tables"];
  if (Array.isArray(through)) {
    through.forEach((table, index) => {
      if (typeof table !== "string" || /^[^.]+(\.[^.]+)?$/.test(table)) return;
      findings.push(
        value([...path, "through_tables", index], `must be table or schema.table, not "${table}"`),
      );
    });
  }
  const foreignKey = relationship["foreign_key"];
  if (!isJsonObject(foreignKey)) return;
  for (const side of ["parent", "child"]) {
    const columns = foreignKey[side];
    if (!isJsonObject(columns) || Object.keys(columns).length === 1) continue;
    const message = `must name one table's columns, not those of ${Object.keys(columns).length}`;
    findings.push(value([...path, "foreign_key", side], message));
  }
  const parent = countColumns(foreignKey["parent"]);
  const child = countColumns(foreignKey["child"]);
  if (parent === null || child === null || parent === child) return;
  const message = `pairs columns one by one, but parent has ${parent} and child has ${child}`;
  findings.push(value([...path, "foreign_key"], message));
}

function countColumns(columns: JsonValue | undefined): number | null {
  if (typeof columns === "string") return 1;
  if (Array.isArray(columns)) return columns.length;
  if (!isJsonObject(columns)) return null;
  const tables = Object.values(columns);
  return tables.length === 1 ? countColumns(tables[0]) : null;
}

function checkTransform(transform: JsonObject, path: Path, isScalar: boolean, findings: Finding[]): void {
  const { rename, mapping } = transform;
  if (isScalar) {
    for (const name of ["rename", "concat", "mapping"]) {
      if (isEmpty(transform[name])) continue;
      const remedy = name === "mapping" ? "write it at the parent, under this node's label" : "remove it";
      findings.push({
        path: [...path, name],
        at: "key",
        message: `makes no sense on a scalar, which has no fields: ${remedy}`,
      });
    }
  }
  if (!isJsonObject(mapping)) return;
  for (const [field, definition] of Object.entries(mapping)) {
    const fieldPath = [...path, "mapping", field];
    const renamed = isJsonObject(rename) && Object.hasOwn(rename, field) ? rename[field] : undefined;
    const name = typeof renamed === "number" ? String(renamed) : renamed;
    if (typeof name === "string" && name !== field && !isNewName(rename, field)) {
      const message = `"${field}" is renamed to "${name}": write the mapping under "${name}"`;
      findings.push({ path: fieldPath, at: "key", message });
    }
    if (isJsonObject(definition)) checkField(definition, fieldPath, findings);
  }
}

/** Two columns may change names with each other; then the name is a new one as well. */
function isNewName(rename: JsonValue | undefined, field: string): boolean {
  return isJsonObject(rename) && Object.values(rename).some((name) => String(name) === field);
}

function checkField(definition: JsonObject, path: Path, findings: Finding[]): void {
  const type = definition["type"];
  if (type === undefined || isJsonObject(type)) {
    // A mapping that reaches into a child or a JSON column: its fields are checked one level down.
    const fields = Object.entries(definition);
    if (
      fields.length > 0 && fields.every(([, inner]) => isJsonObject(inner)) && !isFieldDefinition(definition)
    ) {
      for (const [field, inner] of fields) {
        if (isJsonObject(inner)) checkField(inner, [...path, field], findings);
      }
      return;
    }
    findings.push(value(path, "`type` is missing: add the Elasticsearch type of the field"));
  } else if (typeof type !== "string") {
    findings.push(value([...path, "type"], `must be an Elasticsearch type, not ${describeValue(type)}`));
  } else if (!FIELD_TYPES.has(type)) {
    const message = `"${type}" is no type of Elasticsearch or OpenSearch${didYouMean(type, FIELD_TYPES)}`;
    findings.push(value([...path, "type"], message));
  }
  for (const parameter of Object.keys(definition)) {
    if (FIELD_PARAMETERS.has(parameter)) continue;
    const meant = nearest(parameter, FIELD_PARAMETERS);
    if (meant === null) continue;
    const message = `unknown parameter "${parameter}"; did you mean "${meant}"?`;
    findings.push({ path: [...path, parameter], at: "key", message });
  }
}

/** `properties` and `fields` hold objects only too, yet belong to a definition that lacks its type. */
function isFieldDefinition(definition: JsonObject): boolean {
  return Object.keys(definition).every((key) => ["properties", "fields", "meta"].includes(key));
}

function isEmpty(part: JsonValue | undefined): boolean {
  if (part === undefined || part === null) return true;
  return typeof part === "object" && Object.keys(part).length === 0;
}

function value(path: Path, message: string): Finding {
  return { path, at: "value", message };
}
