import { z } from "zod";
import { errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";

const limitRow = z.object({ limit: z.string().nullable() });

/**
 * What cuts our sessions off and cannot be set by them. `transaction_timeout` is new in PostgreSQL 17: a startup message that
 * names it is refused by every older server, and which one it is shows only after the login.
 *
 * @returns one sentence; null where nothing does
 * @throws PgsyncError of PostgreSQL
 */
export async function sessionLimitWarning(admin: Sql, role: string): Promise<string | null> {
  try {
    const [row] = await admin`SELECT pg_catalog.current_setting('transaction_timeout', true) AS limit`;
    const { limit } = limitRow.parse(row);
    if (limit === null || limit === "0") return null;
    return `transaction_timeout is ${limit} for the role "${role}": whatever reads for longer (a chunk of the initial load, a look-up ` +
      "of many documents, a large transaction of the stream) is cut off and begun again, for ever if need be. " +
      `Set it to 0 for this role: ALTER ROLE … SET transaction_timeout = 0.`;
  } catch (thrown) {
    throw postgresError(thrown, errorContext(admin, "read a setting"));
  }
}
