/** The trees of the schema file: walks over the tables' references. */
import { between, chance, pick, type Random, shuffled, some } from "../support/random.ts";
import { type ColumnDraft, type Graph, type NodeDraft, readsViews, type TableDraft } from "./world_drafts.ts";
import { fansOut, relationshipOf, type Way, waysFrom } from "./world_edges.ts";

/** Levels below the root. */
const DEPTH = 4;
const NODES = 10;
/** So many edges of one to many stand above each other: documents grow by the product. */
const FANS = 3;

/** One to three trees, each over a root with a key. */
export function makeDocuments(random: Random, graph: Graph): NodeDraft[] {
  const roots = graph.tables.filter((table) => table.primaryKey.length > 0);
  return Array.from({ length: pick(random, [1, 1, 2, 2, 3]) }, () => {
    // A root from which nothing can be reached is one, too, but a poor one.
    const rich = roots.filter((table) => waysFrom(graph, table).length > 1);
    const root = makeNode(
      random,
      graph,
      pick(random, rich.length > 0 && chance(random, 90) ? rich : roots),
      null,
      null,
    );
    grow(random, graph, root);
    return root;
  });
}

function grow(random: Random, graph: Graph, root: NodeDraft): void {
  const open: { readonly node: NodeDraft; readonly depth: number; readonly fans: number }[] = [{
    node: root,
    depth: 0,
    fans: 0,
  }];
  let count = 1;
  const wanted = between(random, 2, NODES);
  while (open.length > 0 && count < wanted) {
    // The newest more often than the oldest, for depth.
    const place = chance(random, 60) ? open.length - 1 : random.below(open.length);
    const at = open[place];
    if (at === undefined) break;
    const ways = waysFrom(graph, at.node.table).filter((way) => isWorthwhile(random, at.node, at.fans, way));
    if (ways.length === 0 || at.node.children.length >= 4) {
      open.splice(place, 1);
      continue;
    }
    const way = pick(random, ways);
    const child = makeNode(random, graph, way.child, at.node, way);
    at.node.children.push(child);
    count++;
    if (child.scalar || at.depth + 1 >= DEPTH) continue;
    open.push({ node: child, depth: at.depth + 1, fans: at.fans + (child.many && fansOut(way) ? 1 : 0) });
  }
  for (const node of nodesOf(root)) settle(random, node);
}

function isWorthwhile(random: Random, node: NodeDraft, fans: number, way: Way): boolean {
  if (fansOut(way) && fans >= FANS) return false;
  const { edge } = node;
  // Straight back again is of use now and then.
  const back = edge?.kind === "direct" && way.edge.kind === "direct" && edge.reference === way.edge.reference;
  return !back || chance(random, 15);
}

function makeNode(
  random: Random,
  graph: Graph,
  table: TableDraft,
  parent: NodeDraft | null,
  way: Way | null,
): NodeDraft {
  const several = way !== null && fansOut(way);
  const many = way !== null && chance(random, several ? 75 : 20);
  const scalar = way !== null && chance(random, 15);
  const json: Record<string, unknown> = { table: table.name };
  if (table.schema !== "public" || chance(random, 20)) json["schema"] = table.schema;
  const { view } = table;
  if (view !== null) {
    if (table.primaryKey.length > 0) json["primary_key"] = table.primaryKey.map((column) => column.name);
    // Found by themselves where the file does not name them, as it must not where a name holds a dot.
    const plain = view.tables.every((base) => !base.name.includes(".") && !base.schema.includes("."));
    // Of a materialised view they have no effect.
    if (plain && !view.materialized && !readsViews(view) && chance(random, 50)) {
      json["base_tables"] = view.tables.map((base) => `${base.schema}.${base.name}`);
    }
  }
  if (way !== null && parent !== null) {
    json["relationship"] = {
      variant: scalar ? "scalar" : "object",
      type: many ? "one_to_many" : "one_to_one",
      ...relationshipOf(random, graph, parent.table, way),
    };
  }
  return {
    table,
    parent,
    edge: way?.edge ?? null,
    many,
    scalar,
    columns: null,
    named: [],
    children: [],
    json,
  };
}

/** Columns, names and labels, when all nodes below are known. */
function settle(random: Random, node: NodeDraft): void {
  chooseColumns(random, node);
  labelChildren(random, node);
  rename(random, node);
  if (node.columns !== null) node.json["columns"] = node.columns;
  else if (chance(random, 40)) node.json["columns"] = pick(random, [[], null]);
  if (node.children.length > 0) node.json["children"] = node.children.map((child) => child.json);
}

function chooseColumns(random: Random, node: NodeDraft): void {
  const { table } = node;
  const depth = ancestors(node).length;
  // Large texts many levels down would make documents of megabytes.
  const shown = table.columns.filter((column) => !column.external || depth < 2);
  const all = shown.length === table.columns.length && !node.scalar && chance(random, 35);
  if (all || shown.length === 0) return;
  const chosen = some(random, shown, between(random, 1, 5));
  const entries = chosen.flatMap((column) => entriesOf(random, column));
  node.columns = entries;
  node.named = chosen;
}

/** The column, or ways into its JSON. */
function entriesOf(random: Random, column: ColumnDraft): string[] {
  const { name, kind } = column;
  if ((kind !== "json" && kind !== "jsonb") || chance(random, 30)) return [name];
  const paths = [
    "->a->0",
    "->a->>1",
    "->>s",
    "->b",
    "->b->>c",
    "->b->e e",
    "#>{b,d}",
    "#>>{a,0}",
    "#>{0}",
    "->0",
    "->f",
    "->-1",
  ];
  // The text of a whole object is that of jsonb; json keeps its own.
  if (kind === "jsonb") paths.push("->>a", "#>>{b}", "->>b");
  const byField = new Map(
    some(random, paths, between(random, 1, 3)).map((path) => [fieldOf(path), `${name}${path}`]),
  );
  return [...byField.values()];
}

function fieldOf(path: string): string {
  return path.startsWith("#") ? path.replace(/^#>>?\{|\}$/g, "") : path.split(/->>?/).slice(1).join("_");
}

const LABELS = [
  "parts",
  "rest",
  "Über",
  "a label",
  "with.dot",
  "labelled",
  "x".repeat(80),
  'say "it"',
  "$label",
  "k1",
];

/** Siblings have different labels; the table's name serves where it may. */
function labelChildren(random: Random, node: NodeDraft): void {
  const taken = new Set<string>();
  for (const child of node.children) {
    const name = child.table.name;
    const own = !taken.has(name) && chance(random, 50);
    let label = own ? name : pick(random, LABELS);
    for (let number = 2; taken.has(label); number++) label = `${label.replace(/ \d+$/, "")} ${number}`;
    taken.add(label);
    if (label !== name) child.json["label"] = label;
    else if (chance(random, 10)) child.json["label"] = null;
  }
}

const NEW_NAMES = ["neu", "Größe", "new.name", "other", "7", "y".repeat(70), "id", "_x", "sp ace"];

function rename(random: Random, node: NodeDraft): void {
  if (node.scalar || node.json["label"] === null || !chance(random, 25)) return;
  const labels = new Set(node.children.map((child) => String(child.json["label"] ?? child.table.name)));
  const columns = node.columns?.filter((entry) => !/->|#>/.test(entry)) ??
    node.table.columns.map((column) => column.name);
  const free = shuffled(random, columns.filter((name) => !labels.has(name)));
  const [first, second] = free;
  if (first === undefined) return;
  const names: Record<string, string | number> = {};
  if (second !== undefined && chance(random, 30)) Object.assign(names, { [first]: second, [second]: first });
  else {
    const name = pick(random, NEW_NAMES);
    if (columns.includes(name) || labels.has(name)) return;
    names[first] = name === "7" ? 7 : name;
  }
  node.json["transform"] = { rename: names };
}

export function nodesOf(root: NodeDraft): NodeDraft[] {
  return [root, ...root.children.flatMap(nodesOf)];
}

export function ancestors(node: NodeDraft): NodeDraft[] {
  return node.parent === null ? [] : [node.parent, ...ancestors(node.parent)];
}
