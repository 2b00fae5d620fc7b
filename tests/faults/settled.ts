/** What tests of faults ask of a running `pgsync`. */
import assert from "node:assert/strict";
import { type Lsn, parseLsn } from "../../src/replication/lsn.ts";
import { eventually } from "../support/eventually.ts";
import type { PgsyncProcess } from "../support/pgsync_process.ts";
import { surroundings, told } from "../support/stall.ts";
import { connect } from "./tree.ts";

/** Waits until `/ready` says 503 with a reason; `/health` says 200 all the while. */
export async function notReady(run: PgsyncProcess, reason: RegExp, timeout = 20_000): Promise<void> {
  await eventually(async () => {
    assert.deepEqual(await run.get("/health"), { status: 200, body: { status: "alive" } });
    const { status, body } = await run.get("/ready");
    assert.equal(status, 503);
    assert.match(JSON.stringify(body), reason);
  }, { what: `/ready to say 503 with ${reason}`, timeout });
}

/**
 * Waits until a run has confirmed everything that was committed before this call, and is ready. So what the index holds then is
 * what it would hold for ever.
 */
export async function settled(run: PgsyncProcess, databaseUrl: string, timeout = 60_000): Promise<void> {
  const sql = connect(databaseUrl);
  try {
    // Positions move by what is committed.
    const [row] = await sql<{ lsn: string }[]>`SELECT pg_logical_emit_message(true, 'test', '')::text AS lsn`;
    const written: Lsn = parseLsn(row?.lsn ?? "");
    await run.ready(timeout);
    await eventually(async () => {
      const { databases: [state] } = await run.status();
      const { confirmed = "0/0" } = state?.stream ?? {};
      if (parseLsn(confirmed) < written) throw new Error(`${confirmed} is confirmed, not ${row?.lsn}`);
    }, { what: "what was committed to be confirmed", timeout });
    await run.ready(timeout);
  } catch (error) {
    if (error instanceof Error) error.message += `\n${await explained(run, databaseUrl)}`;
    throw error;
  } finally {
    await sql.end();
  }
}

/** All that may tell why a run does not come on. */
async function explained(run: PgsyncProcess, databaseUrl: string): Promise<string> {
  const parts = [told("status", () => run.status()), surroundings({ databaseUrl, searchUrl: null })];
  return (await Promise.all(parts)).join("\n");
}
