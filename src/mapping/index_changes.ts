import { isObject, type Place } from "../schema/tree.ts";
import { formatPlace } from "./fields.ts";
import {
  canonical,
  type FieldDescription,
  type IndexDescription,
  type NodeDescription,
} from "./index_description.ts";
import type { MappedDocument, MappedNode } from "./tree.ts";

/** One difference between what an index was made for and what the schema file asks for now. */
export interface IndexChange {
  /** What changed, as `field "isbn" added to book`. */
  readonly what: string;
  /** Where the schema file has it, or has what it was taken out of. */
  readonly place: Place;
  /**
   * - `shape`: documents look different, or the index treats them differently. Such documents do not belong into the
   *   same index.
   * - `source`: documents look the same, but values come from elsewhere.
   */
  readonly kind: "shape" | "source";
}

/**
 * What changed since an index was made. Empty where nothing did that bears on its documents, whatever was rewritten in the
 * schema file. Pure.
 *
 * @param before what stands in the index
 * @param after what the schema file asks for now
 * @param document the schema file's document, for places
 */
export function indexChanges(
  before: IndexDescription,
  after: IndexDescription,
  document: MappedDocument,
): IndexChange[] {
  const { place } = document.schema;
  const changes: IndexChange[] = [];
  const told = new Set<string>();
  const shape = (what: string, at: Place = place) => changes.push({ what, place: at, kind: "shape" });
  if (canonical(before.key) !== canonical(after.key)) {
    const list = (types: readonly string[]) => types.join(", ");
    shape(
      `the root's key changed from (${list(before.key)}) to (${list(after.key)})`,
      document.root.schema.place,
    );
  }
  compareNodes(before.root, after.root, document.root, "", {
    shape: (what, at, path) => {
      shape(what, at);
      told.add(path);
    },
    source: (what, at) => changes.push({ what, place: at, kind: "source" }),
    followed: (what, at, path) => {
      changes.push({ what, place: at, kind: "source" });
      told.add(path);
    },
  });
  compareMappings(before.mapping, after.mapping, "", told, shape);
  for (const name of keysOf(before.settings, after.settings)) {
    const [old, now] = [before.settings[name], after.settings[name]];
    if (canonical(old) !== canonical(now)) shape(`setting ${name} ${changed(old, now)}`);
  }
  for (const name of ["pipeline", "routing", "plugins"] as const) {
    const [old, now] = [before[name], after[name]];
    if (canonical(old) !== canonical(now)) shape(`${name} ${changed(old ?? undefined, now ?? undefined)}`);
  }
  return changes;
}

/** The changes in one sentence's end, with their places. */
export function describeChanges(changes: readonly IndexChange[]): string {
  const shown = changes.slice(0, MOST_SHOWN).map(({ what, place }) => `${what}, at ${formatPlace(place)}`);
  const more = changes.length - shown.length;
  return shown.join("; ") + (more > 0 ? `; and ${more} more` : "");
}

const MOST_SHOWN = 10;

/** Receive changes. */
interface Report {
  /** @param path the field's, from the document's root, joined with dots */
  readonly shape: (what: string, place: Place, path: string) => void;
  readonly source: (what: string, place: Place) => void;
  /** A table lost a column that the file named, so all documents look different anyhow: their index can follow. */
  readonly followed: (what: string, place: Place, path: string) => void;
}

/** @param path the field in which the node stands, from the document's root, joined with dots */
function compareNodes(
  before: NodeDescription,
  after: NodeDescription,
  node: MappedNode,
  path: string,
  report: Report,
): void {
  const { place } = node.schema;
  const { shape, source, followed } = report;
  const columns = new Set(node.relation.columns.map((column) => column.name));
  const isGone = (field: string) => {
    const from = own(before.fields, field)?.from;
    return from !== undefined && own(after.fields, field) === undefined && !columns.has(columnOf(from));
  };
  const lostColumn = Object.keys(before.fields).some(isGone);
  const name = `"${node.path}"`;
  if (before.form !== after.form) {
    shape(`${name} became ${FORMS[after.form]} instead of ${FORMS[before.form]}`, place, path);
    return;
  }
  if (before.table !== after.table) {
    source(`${name} is read from ${after.table} instead of ${before.table}`, place);
  }
  if (before.join !== after.join) {
    source(`${name} is joined by ${after.join} instead of ${before.join}`, place);
  }
  if (before.transform !== after.transform) source(`the transform of ${name} changed`, place);
  for (const field of keysOf(before.fields, after.fields)) {
    const [old, now] = [own(before.fields, field), own(after.fields, field)];
    const at = joinPath(path, field);
    if (old === undefined) (lostColumn ? followed : shape)(`field "${field}" added to ${name}`, place, at);
    else if (now === undefined) {
      (isGone(field) ? followed : shape)(`field "${field}" removed from ${name}`, place, at);
    } else {compareFields(
        old,
        now,
        field === "" ? `the value of ${name}` : `field "${field}" of ${name}`,
        place,
        at,
        report,
      );}
  }
  for (const field of keysOf(before.children, after.children)) {
    const [old, now] = [own(before.children, field), own(after.children, field)];
    const child = node.children.findLast((candidate) => candidate.field === field);
    const at = joinPath(path, field);
    if (old === undefined) shape(`child "${field}" added to ${name}`, child?.schema.place ?? place, at);
    else if (now === undefined || child === undefined) {
      shape(`child "${field}" removed from ${name}`, place, at);
    } else compareNodes(old, now, child, at, report);
  }
}

/** The column of a path into it. */
function columnOf(from: string): string {
  return from.split(/[-#]>/, 1)[0]?.trim() ?? from;
}

function joinPath(path: string, field: string): string {
  return path === "" || field === "" ? path + field : `${path}.${field}`;
}

const FORMS: Record<NodeDescription["form"], string> = {
  object: "an object",
  objects: "a list of objects",
  scalar: "a value",
  scalars: "a list of values",
};

function compareFields(
  before: FieldDescription,
  after: FieldDescription,
  name: string,
  place: Place,
  path: string,
  { shape, source }: Report,
): void {
  if (before.json !== after.json) {
    shape(`${name} became ${after.type} instead of ${before.type}`, place, path);
    return;
  }
  if (before.from !== after.from) {
    source(`${name} comes from column "${after.from}" instead of "${before.from}"`, place);
  }
  if (before.type !== after.type) source(`${name} became ${after.type} instead of ${before.type}`, place);
}

/**
 * @param path of the object field, joined with dots
 * @param told the fields of which a change of shape is told already: theirs of the mapping follow from it
 */
function compareMappings(
  before: Record<string, unknown>,
  after: Record<string, unknown>,
  path: string,
  told: ReadonlySet<string>,
  shape: (what: string) => void,
): void {
  for (const key of keysOf(before, after)) {
    if (key === "properties") continue;
    const [old, now] = [before[key], after[key]];
    const what = path === "" ? `mapping (${key})` : `mapping of "${path}" (${key})`;
    if (canonical(old) !== canonical(now)) shape(`${what} ${changed(old, now)}`);
  }
  const [old, now] = [propertiesOf(before), propertiesOf(after)];
  for (const field of keysOf(old, now)) {
    const [left, right] = [own(old, field), own(now, field)];
    const at = joinPath(path, field);
    if (told.has(at) || canonical(left) === canonical(right)) continue;
    const nested = isObject(left) && isObject(right) && ("properties" in left || "properties" in right);
    if (nested) compareMappings(left, right, at, told, shape);
    else shape(`mapping of "${at}" ${changed(left, right)}`);
  }
}

function changed(before: unknown, after: unknown): string {
  if (before === undefined) return `added: ${canonical(after)}`;
  if (after === undefined) return `removed: ${canonical(before)}`;
  return `changed from ${canonical(before)} to ${canonical(after)}`;
}

function keysOf(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])];
}

/** A field may be called `constructor`. */
function own<T>(object: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function propertiesOf(mapping: Record<string, unknown>): Record<string, unknown> {
  const { properties } = mapping;
  return isObject(properties) ? properties : {};
}
