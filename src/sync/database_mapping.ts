import { createHash } from "node:crypto";
import { checkRelations } from "../catalog/checks.ts";
import type { Catalog, Relation } from "../catalog/types.ts";
import { PgsyncError } from "../errors/error.ts";
import { type ChangeSource, changeSources } from "../mapping/change_sources.ts";
import { type IdentityNeed, identityNeeds } from "../mapping/replica_identity.ts";
import { mapDocument, type MappedDocument } from "../mapping/tree.ts";
import { viewWarnings } from "../mapping/view_sources.ts";
import { SLOT_NAME } from "../replication/slot.ts";
import type { DocumentSchema, NodeSchema, QualifiedName } from "../schema/tree.ts";

/** What the documents of one database mean for its tables. */
export interface DatabaseMapping {
  readonly catalog: Catalog;
  readonly documents: readonly MappedDocument[];
  readonly sources: readonly ChangeSource[];
  /** Every table whose changes matter, once. */
  readonly tables: readonly Relation[];
  readonly identities: readonly IdentityNeed[];
  /** What an operator should know of views, one sentence each: changes that nobody will hear of. */
  readonly warnings: readonly string[];
}

/** Joins the documents of one database to its catalog. @throws PgsyncError as `mapDocument` */
export function mapDatabase(documents: readonly DocumentSchema[], catalog: Catalog): DatabaseMapping {
  const mapped = documents.map((document) => mapDocument(document, catalog));
  const sources = mapped.flatMap((document) => changeSources(document));
  const tables = new Map(sources.map((source) => [source.relation.oid, source.relation]));
  return {
    catalog,
    documents: mapped,
    sources,
    tables: [...tables.values()],
    identities: identityNeeds(sources),
    warnings: mapped.flatMap(({ nodes }) =>
      nodes.flatMap((node) => viewWarnings(node.schema, node.relation))
    ),
  };
}

/** Every table that documents name: nodes, link tables and base tables. */
export function namedTables(documents: readonly DocumentSchema[]): QualifiedName[] {
  const names: QualifiedName[] = [];
  const visit = (node: NodeSchema) => {
    names.push({ schema: node.schema, table: node.table });
    names.push(...node.relationship?.throughTables ?? []);
    names.push(...node.baseTables);
    node.children.forEach(visit);
  };
  for (const document of documents) visit(document.root);
  return names;
}

/**
 * What keeps the relations that documents name, and the tables below their views, from being read and followed.
 *
 * @returns errors as `checkRelations`
 */
export function relationProblems(documents: readonly DocumentSchema[], catalog: Catalog): PgsyncError[] {
  const bases: QualifiedName[] = [];
  const read: QualifiedName[] = [];
  const visit = (node: NodeSchema) => {
    read.push(node, ...node.relationship?.throughTables ?? []);
    const tables = catalog.relation(node)?.view?.tables ?? [];
    bases.push(
      ...node.baseTables.length > 0 ? node.baseTables : tables.filter((table) => table.unheard === null),
    );
    node.children.forEach(visit);
  };
  for (const document of documents) visit(document.root);
  return checkRelations(catalog, read, bases);
}

/** The documents of a schema file by database, in the order of the file. */
export function byDatabase(documents: readonly DocumentSchema[]): Map<string, DocumentSchema[]> {
  const databases = new Map<string, DocumentSchema[]>();
  for (const document of documents) {
    const list = databases.get(document.database) ?? [];
    list.push(document);
    databases.set(document.database, list);
  }
  return databases;
}

/**
 * The name of a database's slot and publication: the one that was given, or `pgsync_<database>`, with what a slot's name
 * cannot hold replaced; a name that had to be changed ends with a hash, so that two databases never meet.
 *
 * @throws PgsyncError USAGE where the given name is not allowed
 */
export function slotName(given: string | null, database: string): string {
  if (given !== null) {
    if (SLOT_NAME.test(given)) return given;
    throw new PgsyncError("USAGE", `"${given}" cannot be the name of a replication slot.`, {
      remedy: "Use lower case letters, digits and underscores, at most 63, with --slot.",
    });
  }
  const plain = `pgsync_${database}`;
  if (SLOT_NAME.test(plain)) return plain;
  const cleaned = plain.toLowerCase().replaceAll(/[^a-z0-9_]/g, "_").slice(0, 50);
  return `${cleaned}_${createHash("sha256").update(database).digest("hex").slice(0, 8)}`;
}
