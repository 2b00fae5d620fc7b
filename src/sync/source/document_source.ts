import { createHash } from "node:crypto";
import { z } from "zod";
import { type TableState, tableStates } from "../../catalog/table_state.ts";
import { changeSources } from "../../mapping/change_sources.ts";
import type { Link } from "../../mapping/links.ts";
import type { MappedDocument, MappedNode } from "../../mapping/tree.ts";
import { quoteQualified } from "../../postgres/quote.ts";
import type { QualifiedName } from "../../schema/tree.ts";

/**
 * What a document was made of: kept with the position, and compared with what the tables are now. The stream tells of rows
 * only; whatever else changes what documents say (a column added, a type changed, a partition attached) shows here.
 *
 * A change that the stream describes by an older definition was committed before the definition changed, for ALTER TABLE
 * waits until all who write to the table are done. So when all documents are read again after the new definition was seen, that
 * covers every such change, however little of it can be understood.
 */
export interface DocumentSource {
  /** Digest of everything by which the document is built and its changes are found. */
  readonly shape: string;
  /** The root key: oid of the table and numbers of its columns, in the order of the `_id`. */
  readonly key: string;
  /** The tables, as they were read before the catalog that `shape` is made of. */
  readonly tables: readonly TableState[];
}

const stored = z.object({ shape: z.string(), key: z.string(), tables: tableStates });

/** What became of a document's tables. */
export type SourceChange =
  /** Nothing that its documents could show. */
  | { readonly kind: "none" }
  /** It is built in another way now. */
  | { readonly kind: "shape" }
  /** Rows came, went or changed that the stream does not tell of. */
  | { readonly kind: "rows"; readonly tables: readonly QualifiedName[] }
  /** The same, if one of these new partitions holds a row. */
  | {
    readonly kind: "leaves";
    readonly tables: readonly QualifiedName[];
    readonly leaves: readonly number[];
  };

/** Describes what a document is made of. @param states of its tables, among others; read before the catalog of `mapped` */
export function documentSource(mapped: MappedDocument, states: readonly TableState[]): DocumentSource {
  const used = usedColumns(mapped);
  const tables = states.filter((state) => used.has(quoteQualified(state)));
  const shape = [
    mapped.key.map((column) => [column.name, column.type.sql]),
    mapped.nodes.map(nodeShape),
    tables.map((state) => {
      const columns = used.get(quoteQualified(state))?.used;
      return [
        quoteQualified(state),
        state.oid,
        state.kind,
        state.rule,
        state.composites,
        state.columns.filter((column) => columns?.has(column.name) === true)
          .map(({ name, number, type, collation, generated }) => [name, number, type, collation, generated]),
      ];
    }),
  ];
  const { root, key } = mapped;
  return {
    shape: createHash("sha256").update(JSON.stringify(shape)).digest("hex").slice(0, 32),
    key: [root.relation.oid, ...key.map((column) => column.number)].join(" "),
    tables,
  };
}

/** Compares what a document was made of with what its tables are now. Pure. */
export function sourceChange(
  mapped: MappedDocument,
  before: DocumentSource,
  now: DocumentSource,
): SourceChange {
  if (before.shape !== now.shape) return { kind: "shape" };
  const used = usedColumns(mapped);
  const earlier = new Map(before.tables.map((state) => [quoteQualified(state), state]));
  const certain: QualifiedName[] = [];
  const grown: QualifiedName[] = [];
  const leaves: number[] = [];
  for (const state of now.tables) {
    const name = quoteQualified(state);
    const old = earlier.get(name);
    const columns = used.get(name);
    if (old === undefined || columns === undefined) return { kind: "shape" };
    const added = Object.keys(state.leaves).filter((leaf) => !Object.hasOwn(old.leaves, leaf));
    if (rowsChanged(old, state, columns)) certain.push(state);
    else if (added.length > 0) {
      grown.push(state);
      leaves.push(...added.map(Number));
    }
  }
  if (certain.length > 0) return { kind: "rows", tables: certain };
  return leaves.length > 0 ? { kind: "leaves", tables: grown, leaves } : { kind: "none" };
}

/** Whether rows of a table that looks the same may say something else, without a word of the stream. */
function rowsChanged(before: TableState, now: TableState, { used, links }: UsedColumns): boolean {
  // What was changed while it was not published was told to nobody.
  if (before.published !== now.published) return true;
  // Detached, dropped, attached again, truncated, or only rewritten (VACUUM FULL, CLUSTER).
  if (Object.entries(before.leaves).some(([leaf, filenode]) => now.leaves[leaf] !== filenode)) return true;
  if (Object.entries(before.labels).some(([label, text]) => now.labels[label] !== text)) return true;
  if (now.kind === "m" && (before.filenode !== now.filenode || before.writes !== now.writes)) return true;
  // Documents may have been made of another table that had its name.
  if (before.namedBy !== now.namedBy) return true;
  const earlier = new Map(before.columns.map((column) => [column.name, column]));
  const others = now.columns.filter((column) => earlier.get(column.name)?.definedBy !== column.definedBy);
  const redefined = others.map((column) => column.name);
  // And of another column.
  const again = others.filter((column) => earlier.get(column.name)?.definition === column.definition);
  if (again.some((column) => used.has(column.name))) return true;
  // Two columns that have changed names and back again: changes in between were misread.
  if (redefined.some((name) => links.has(name))) return true;
  if (before.filenode === now.filenode || now.kind === "p") return false;
  // ALTER COLUMN … TYPE … USING, to the same type. (Who shows xmin shows who wrote the table anew, too.)
  return used.has("xmin") || redefined.some((name) => used.has(name));
}

/** Everything of the tables by which they are mapped, in one text. */
export function definitions(states: readonly TableState[]): string {
  return JSON.stringify(
    states.map((state) => {
      const {
        filenode: _file,
        writes: _writes,
        leaves: _leaves,
        labels: _labels,
        published: _published,
        ...rest
      } = state;
      return rest;
    }),
  );
}

/** The text that the checkpoint file keeps. */
export function writeSource(source: DocumentSource): string {
  return JSON.stringify(source);
}

/** Reads what the checkpoint file kept; null where another version of this program wrote it. */
export function readSource(text: string): DocumentSource | null {
  const parsed = stored.safeParse(JSON.parse(text));
  return parsed.success ? parsed.data : null;
}

interface UsedColumns {
  /** What the document shows or depends on. */
  readonly used: Set<string>;
  /** What leads from a row to its documents. */
  readonly links: Set<string>;
}

/** By the quoted name of the table. */
function usedColumns(mapped: MappedDocument): Map<string, UsedColumns> {
  const byTable = new Map<string, UsedColumns>();
  const of = (relation: QualifiedName): UsedColumns => {
    const name = quoteQualified(relation);
    const columns = byTable.get(name) ?? { used: new Set(), links: new Set() };
    byTable.set(name, columns);
    return columns;
  };
  for (const source of changeSources(mapped)) {
    const { used, links } = of(source.relation);
    for (const column of source.usedColumns) used.add(column);
    for (const column of source.linkColumns) links.add(column.name);
  }
  // Of a view there are no changes of its own.
  for (const { relation, fields } of mapped.nodes) {
    for (const view of relation.view?.below ?? []) of(view);
    const { used } = of(relation);
    for (const field of fields) used.add(field.column);
    for (const column of relation.primaryKey) used.add(column);
  }
  return byTable;
}

function nodeShape(node: MappedNode): unknown {
  return [
    node.path,
    quoteQualified(node.relation),
    node.field,
    node.relation.primaryKey,
    node.fields.map(({ name, column, steps, operator, asText }) => [name, column, steps, operator, asText]),
    node.link === null ? null : linkShape(node.link),
  ];
}

function linkShape(link: Link): unknown {
  return link.kind === "direct"
    ? [link.pairs, link.unique]
    : [quoteQualified(link.table), link.table.primaryKey, link.toParent, link.toChild];
}
