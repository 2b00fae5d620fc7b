import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { checkMeta, indexDefinition, markUnloaded } from "../../documents/index_setup.ts";
import { newestVersionAt } from "../../documents/version_clock.ts";
import { reached } from "../../fault_points.ts";
import type { Sql } from "../../postgres/connect.ts";
import { quoteQualified } from "../../postgres/quote.ts";
import { readWalEnd } from "../../replication/history.ts";
import { createSlot } from "../../replication/slot.ts";
import type { SearchClient } from "../../search/client.ts";
import { describeIndex, ensureIndex, type IndexDefinition, setLoaded } from "../../search/index.ts";
import { removeAhead } from "../../search/remove_ahead.ts";
import { type DatabaseState, identityOf, unpublishedTables } from "../database_state.ts";
import { makeIdentitiesAndPublication } from "./setup_statements.ts";
import { SourceKeeper } from "../source/source_keeper.ts";

/** Receives one line for each thing done. */
export type Report = (line: string) => void;

function definitionsOf({ mapping }: DatabaseState): IndexDefinition[] {
  const { systemIdentifier } = mapping.catalog.server;
  return mapping.documents.map((mapped) => indexDefinition(mapped, systemIdentifier));
}

/**
 * Looks whether the indices that are there may be written to, before anything is made or given up.
 *
 * @param checkpoint the database's file; null where it is not known: columns of a key may have got other names then
 * @throws PgsyncError INDEX_FOREIGN, INDEX_CHANGED; others of the search engine
 */
export async function checkIndices(
  found: DatabaseState,
  checkpoint: Checkpoint | null,
  search: SearchClient,
): Promise<void> {
  const keeper = checkpoint === null ? null : new SourceKeeper(checkpoint);
  const { systemIdentifier } = found.mapping.catalog.server;
  for (const mapped of found.mapping.documents) {
    const definition = indexDefinition(mapped, systemIdentifier);
    const existing = await describeIndex(search, definition.alias);
    if (existing === null) continue;
    if (existing.meta === null || !existing.isAlias) await ensureIndex(search, definition);
    else checkMeta(mapped, existing.meta, definition.meta, keeper?.keptKey(mapped, found.tables) ?? true);
  }
}

/**
 * Makes what one database lacks.
 *
 * @param state free of problems (`setupProblems`); without a slot where that was given up
 * @param signal cuts short what takes long
 * @param checkpoint its file; emptied when the slot is made, for what it says belongs to an older slot
 * @throws PgsyncError; CHECKPOINT_FOREIGN where it is the file of another slot or database
 */
export async function makeMissing(
  admin: Sql,
  state: DatabaseState,
  checkpoint: Checkpoint,
  search: SearchClient,
  report: Report,
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  checkpoint.checkOwner(identityOf(state));
  await checkIndices(state, checkpoint, search);
  const definitions = definitionsOf(state);
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
    reached("indices-unloaded");
    checkpoint.reset();
    checkpoint.adopt(identityOf(state));
    reached("file-emptied");
    const begin = await createSlot(admin, { name: state.slotName, database: state.database });
    reached("slot-made");
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
  const newest = newestVersionAt(await readWalEnd(admin));
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
