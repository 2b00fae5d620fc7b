import { existsSync } from "node:fs";
import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { PgsyncError } from "../errors/error.ts";
import { connectPostgres, type Sql } from "../postgres/connect.ts";
import { quoteQualified } from "../postgres/quote.ts";
import { dropPublication } from "../replication/publication.ts";
import { createSlot, dropSlot } from "../replication/slot.ts";
import type { DocumentSchema } from "../schema/tree.ts";
import { connectSearch, type SearchClient } from "../search/client.ts";
import { describeIndex, dropIndex, ensureIndex, type IndexDefinition, setLoaded } from "../search/index.ts";
import { removeAhead } from "../search/remove_ahead.ts";
import { newestVersion } from "./slot_position.ts";
import { checkpointPath } from "./checkpoint_path.ts";
import { byDatabase, slotName } from "./database_mapping.ts";
import { type DatabaseState, identityOf, readDatabase, unpublishedTables } from "./database_state.ts";
import { setupProblems } from "./setup_problems.ts";
import { makeIdentitiesAndPublication } from "./setup_statements.ts";
import { checkMeta, indexDefinition, markUnloaded } from "../documents/index_setup.ts";
import { SourceKeeper } from "./source_keeper.ts";
import type { RunOptions } from "./options.ts";

/** Receives one line for each thing done. */
export type Report = (line: string) => void;

/**
 * Makes what a run needs: publications, replica identities, slots and indices. What is there stays; nothing is made
 * where something is found that would stop the run.
 *
 * @throws PgsyncError
 */
export async function bootstrap(options: RunOptions, report: Report): Promise<void> {
  const search = await connectSearch(options.search);
  try {
    for (const [database, documents] of byDatabase(options.schema.documents)) {
      const admin = connectPostgres(options.postgres, {
        database,
        purpose: "bootstrap",
        max: 1,
        kind: "admin",
      });
      try {
        const name = slotName(options.slot, database);
        const state = await readDatabase(admin, database, documents, name);
        const [problem] = setupProblems(state, true);
        if (problem !== undefined) throw problem;
        using checkpoint = Checkpoint.open(checkpointPath(options, name));
        await makeMissing(admin, state, checkpoint, search, report);
      } finally {
        await admin.end({ timeout: 1 });
      }
    }
  } finally {
    await search.close();
  }
}

/**
 * Makes what one database lacks.
 *
 * @param found free of problems (`setupProblems`)
 * @param signal cuts short what takes long
 * @param checkpoint its file; emptied when the slot is made, for what it says belongs to an older slot
 * @throws PgsyncError; CHECKPOINT_FOREIGN where it is the file of another slot or database
 */
export async function makeMissing(
  admin: Sql,
  found: DatabaseState,
  checkpoint: Checkpoint,
  search: SearchClient,
  report: Report,
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const { documents, catalog } = found.mapping;
  const definitions = documents.map((mapped) => indexDefinition(mapped, catalog.server.systemIdentifier));
  checkpoint.checkOwner(identityOf(found));
  const keeper = new SourceKeeper(checkpoint);
  // Look at all before anything is made.
  for (const [at, mapped] of documents.entries()) {
    const definition = definitions[at] ?? indexDefinition(mapped, catalog.server.systemIdentifier);
    const existing = await describeIndex(search, definition.alias);
    if (existing === null) continue;
    if (existing.meta === null || !existing.isAlias) await ensureIndex(search, definition);
    else checkMeta(mapped, existing.meta, definition.meta, keeper.keptKey(mapped, found.tables));
  }
  const state = await withoutOrphan(admin, found, report);
  // Before the statements: whoever is interrupted between the two finds the publication lacking again.
  await forgetUnheard(state, checkpoint, search, report);
  for (const statement of await makeIdentitiesAndPublication(admin, state)) report(statement);
  if (state.slot === null) {
    // A new slot begins now: what was loaded before may have missed changes, so it counts as not loaded.
    for (const definition of definitions) {
      const existing = await describeIndex(search, definition.alias);
      if (existing?.meta?.loaded !== true) continue;
      await setLoaded(search, existing.generation, false);
      report(`index "${definition.alias}" will be loaded anew`);
    }
    await forgetLostHistory(admin, definitions, search, report, signal);
    checkpoint.reset();
    checkpoint.adopt(identityOf(state));
    const begin = await createSlot(admin, { name: state.slotName, database: state.database });
    // So that a copy of the file that is made from now on is known to be one.
    checkpoint.savePosition(begin);
    report(`created the replication slot "${state.slotName}"`);
  }
  for (const definition of definitions) {
    const { created, generation } = await ensureIndex(search, definition);
    if (!created) continue;
    report(`created the index "${generation}" behind the alias "${definition.alias}"`);
    if (checkpoint.load(definition.alias)?.finished === true) {
      report(`index "${definition.alias}" had been loaded and was gone: it will be loaded anew`);
    }
  }
}

/**
 * Documents of an older slot may have been written from a history that the server has lost since: a standby was promoted that
 * lacked it, or an older state was restored. Nothing that is built now could take their places.
 */
async function forgetLostHistory(
  admin: Sql,
  definitions: readonly IndexDefinition[],
  search: SearchClient,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const newest = await newestVersion(admin);
  for (const { alias, settings } of definitions) {
    const existing = await describeIndex(search, alias, signal);
    if (existing === null) continue;
    const removed = await removeAhead(search, existing.generation, newest, settings, signal);
    if (removed > 0) {
      report(
        `removed ${removed} documents of index "${alias}" with versions beyond this server's own: it has lost the history that ` +
          "they were written from",
      );
    }
  }
}

/**
 * Where the publication is gone, its slot is of no use any more: the server reads catalogs as they were at the slot's
 * position, and a publication that is made now does not exist there.
 */
async function withoutOrphan(admin: Sql, state: DatabaseState, report: Report): Promise<DatabaseState> {
  if (state.slot === null || state.publication !== null) return state;
  await dropSlot(admin, state.slotName);
  report(`dropped the replication slot "${state.slotName}", whose publication is gone`);
  return { ...state, slot: null };
}

/**
 * Where a slot is read with a publication that does not carry all changes of a table (it was taken out, or the table was
 * dropped and made again), changes may have been missed: the documents that use the table count as not loaded.
 */
async function forgetUnheard(
  state: DatabaseState,
  checkpoint: Checkpoint,
  search: SearchClient,
  report: Report,
): Promise<void> {
  if (state.slot === null) return;
  const unheard = new Set(unpublishedTables(state).map(quoteQualified));
  for (const mapped of state.mapping.documents) {
    const used = state.mapping.sources.filter((source) => source.document === mapped);
    const tables = new Set(used.map((source) => quoteQualified(source.relation)));
    const lacking = [...tables.intersection(unheard)];
    if (lacking.length === 0) continue;
    const { index } = mapped.schema;
    if (await markUnloaded(search, checkpoint, index)) {
      report(
        `index "${index}" will be loaded anew: the publication did not carry all changes of ${
          lacking.join(", ")
        }`,
      );
    }
  }
}

/**
 * Removes what bootstrap made: slots, publications, indices, checkpoint files. Replica identities stay as they are, for
 * nobody knows what they were before.
 *
 * @throws PgsyncError
 */
export async function teardown(options: RunOptions, report: Report): Promise<void> {
  const search = await connectSearch(options.search);
  try {
    for (const [database, documents] of byDatabase(options.schema.documents)) {
      const name = slotName(options.slot, database);
      await teardownDatabase(options, database, name, report);
      await teardownIndices(search, documents, report);
    }
  } finally {
    await search.close();
  }
}

async function teardownDatabase(
  options: RunOptions,
  database: string,
  name: string,
  report: Report,
): Promise<void> {
  const admin = connectPostgres(options.postgres, { database, purpose: "teardown", max: 1, kind: "admin" });
  try {
    const path = checkpointPath(options, name);
    const hadFile = existsSync(path);
    if (hadFile) {
      using checkpoint = Checkpoint.open(path);
      checkpoint.checkOwner({ database, slot: name });
    }
    if (await dropSlot(admin, name)) report(`dropped the replication slot "${name}"`);
    if (await dropPublication(admin, name)) report(`dropped the publication "${name}"`);
    Checkpoint.remove(path);
    if (hadFile) report(`removed the checkpoint file ${path}`);
  } finally {
    await admin.end({ timeout: 1 });
  }
}

async function teardownIndices(
  search: SearchClient,
  documents: readonly DocumentSchema[],
  report: Report,
): Promise<void> {
  for (const { index } of documents) {
    const { dropped, foreign } = await dropIndex(search, index);
    for (const generation of dropped) report(`removed the index "${generation}"`);
    if (foreign.length > 0) {
      throw new PgsyncError(
        "INDEX_FOREIGN",
        `The index "${foreign.join('", "')}" was not made by this program and was left alone.`,
        { remedy: "Remove it by hand if it is not needed." },
      );
    }
  }
}
