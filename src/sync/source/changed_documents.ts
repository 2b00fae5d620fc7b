import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { MappedDocument } from "../../mapping/tree.ts";
import { errorContext, type Sql } from "../../postgres/connect.ts";
import { postgresError } from "../../postgres/errors.ts";
import type { DatabaseState } from "../database_state.ts";
import { documentSource, sourceChange } from "./document_source.ts";
import { SourceKeeper } from "./source_keeper.ts";
import { certainChange } from "./source_watch.ts";

/**
 * Which documents are made of something else than when the position was stored.
 *
 * @throws PgsyncError of PostgreSQL
 */
export async function changedDocuments(
  admin: Sql,
  state: DatabaseState,
  checkpoint: Checkpoint,
): Promise<Set<MappedDocument>> {
  const keeper = new SourceKeeper(checkpoint);
  const changed = new Set<MappedDocument>();
  for (const mapped of state.mapping.documents) {
    const before = keeper.stored(mapped.schema.index);
    const now = documentSource(mapped, state.tables);
    // Where nothing is known (an older version, a lost file), anything may have changed.
    const change = before === null ? null : sourceChange(mapped, before, now);
    try {
      if (change === null || (await certainChange(admin, change)).kind !== "none") changed.add(mapped);
    } catch (thrown) {
      throw postgresError(thrown, errorContext(admin, "read its catalog"));
    }
  }
  return changed;
}
