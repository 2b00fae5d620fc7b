import { connectPostgres } from "../../postgres/connect.ts";
import { oneServer } from "../../postgres/server_identity.ts";
import { endHolder } from "../../replication/end_holder.ts";
import type { Report } from "../setup/bootstrap.ts";
import { byDatabase, slotName } from "../database_mapping.ts";
import type { RunOptions } from "../options.ts";

/**
 * Ends the walsenders that hold the slots of a schema file's databases, so that a process that stands by takes over: for a process that is
 * frozen, or was cut off without a word, and whose walsender the server has not missed yet. One that lives connects again at once. The session of
 * a process that makes a slot is ended, too.
 *
 * @param report receives one line for each slot
 * @throws PgsyncError as `endHolder`
 */
export async function takeOver(options: RunOptions, report: Report): Promise<void> {
  for (const database of byDatabase(options.schema.documents).keys()) {
    const slot = slotName(options.slot, database);
    const sql = connectPostgres(options.postgres, {
      ...{ database, purpose: "take-over", max: 1, kind: "admin" },
      admit: oneServer(options.postgres),
    });
    try {
      const ended = await endHolder(sql, slot, database);
      if (ended.length === 0) report(`the slot "${slot}" is free: nothing had to be ended`);
      for (const { did, pid, application } of ended) {
        report(
          `ended process ${pid}${application ? ` (${application})` : ""}, which ${did} the slot "${slot}"`,
        );
      }
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}
