import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import postgres from "postgres";
import type { PostgresMajor } from "../../../scripts/servers/postgres.ts";
import { eventually } from "../../support/eventually.ts";
import { ownPostgres, ownStandby } from "../../support/postgres.ts";

for (const major of [13, 17] as const satisfies readonly PostgresMajor[]) {
  test(`a hot standby of PostgreSQL ${major} follows its primary, is promoted, and leaves nothing behind`, async () => {
    const primary = await ownPostgres({ major });
    const sql = postgres(primary.url, { max: 1, onnotice: () => {} });
    await sql`CREATE TABLE followed AS SELECT 1 AS value`;
    const standby = await ownStandby(primary);
    const reader = postgres(standby.url, { max: 1, onnotice: () => {} });
    const holds = async (value: number) =>
      await eventually(async () => {
        assert.deepEqual([...await reader`SELECT value FROM followed`], [{ value }]);
      });
    await holds(1);
    await sql`UPDATE followed SET value = 2`;
    await holds(2);
    await assert.rejects(reader`UPDATE followed SET value = 3`, { code: "25006" });
    await standby.restart("immediate");
    await sql`UPDATE followed SET value = 4`;
    await holds(4);
    await reader`SELECT pg_promote()`;
    await reader`UPDATE followed SET value = 5`;
    await reader.end();
    await sql.end();
    await standby.stop();
    assert.equal(existsSync(standby.dataDirectory), false);
    await primary.stop("immediate");
  });
}
