/**
 * What the format has and this version does not carry out. Each entry is refused by name: ignored, it would give
 * other documents than the file asks for. Whoever carries one out removes it here and in docs/schema.md.
 */
import type { Path } from "./place.ts";
import type { Finding } from "./problem.ts";
import type { ChildInput, DocumentInput, RootInput } from "./shape.ts";

type NodeInput = RootInput | ChildInput;

/** A key that is refused where it is used; `uses` gives the paths, below the document or the node. */
interface UnsupportedKey<Of> {
  readonly name: string;
  readonly uses: (of: Of) => readonly Path[];
}

const DOCUMENT_KEYS: readonly UnsupportedKey<DocumentInput>[] = [
  { name: "plugins", uses: ({ plugins }) => plugins?.length ? [["plugins"]] : [] },
  { name: "routing", uses: ({ routing }) => routing ? [["routing"]] : [] },
];

const NODE_KEYS: readonly UnsupportedKey<NodeInput>[] = [
  {
    name: "transform.replace",
    uses: (node) => transforms(node) && hasKeys(node.transform?.replace) ? [["transform", "replace"]] : [],
  },
  {
    name: "transform.concat",
    uses: (node) => transforms(node) && hasKeys(node.transform?.concat) ? [["transform", "concat"]] : [],
  },
  {
    name: "a rename that reaches into a child or a JSON column",
    uses: (node) => transforms(node) ? renamesBelow(node) : [],
  },
  {
    name: "a mapping that reaches into a child or a JSON column",
    uses: (node) =>
      Object.entries(node.transform?.mapping ?? {})
        .filter(([, definition]) => typeof definition["type"] !== "string")
        .map(([field]) => ["transform", "mapping", field]),
  },
];

/** Finds everything in a document that this version does not carry out. */
export function findUnsupported(document: DocumentInput): Finding[] {
  const findings = DOCUMENT_KEYS.flatMap((key) => refuse(key, document, []));
  return findings.concat(findInNode(document.nodes, ["nodes"], true));
}

function findInNode(node: NodeInput, path: Path, isRoot: boolean): Finding[] {
  // At the root a label names nothing, and null does not switch the transforms off.
  const seen = isRoot && node.label === null ? { ...node, label: undefined } : node;
  const own = NODE_KEYS.flatMap((key) => refuse(key, seen, path));
  const below = (node.children ?? []).flatMap((child, index) =>
    findInNode(child, [...path, "children", index], false)
  );
  return own.concat(below);
}

function refuse<Of>(key: UnsupportedKey<Of>, of: Of, path: Path): Finding[] {
  return key.uses(of).map((use) => ({
    path: [...path, ...use],
    at: "key",
    message: `${key.name} is not carried out by this version`,
  }));
}

/** The transforms of a child with the label null do not apply (build.ts warns), so nothing is lost. */
function transforms(node: NodeInput): boolean {
  return node.label !== null;
}

function renamesBelow(node: NodeInput): Path[] {
  const labels = new Set((node.children ?? []).map((child) => child.label ?? child.table));
  return Object.entries(node.transform?.rename ?? {})
    .filter(([field, name]) => typeof name === "object" || labels.has(field))
    .map(([field]) => ["transform", "rename", field]);
}

function hasKeys(part: object | null | undefined): boolean {
  return part !== null && part !== undefined && Object.keys(part).length > 0;
}
