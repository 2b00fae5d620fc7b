import type { NodeSchema } from "../schema/tree.ts";
import { formatPlace } from "./fields.ts";

/** The line to add to a relationship, in a form that is YAML and JSON alike. */
export function relationshipYaml(parent: readonly string[], child: readonly string[]): string {
  const list = (names: readonly string[]) => `[${names.map((name) => JSON.stringify(name)).join(", ")}]`;
  return `foreign_key: {"parent": ${list(parent)}, "child": ${list(child)}}`;
}

/** Where the schema file speaks of a node's relationship; of the node, where it says nothing of it. */
export function placeOfRelationship(node: NodeSchema): string {
  return formatPlace(node.relationship?.place ?? node.place);
}
