import type { Session } from "../postgres/connect.ts";
import { joinKey, type RootKey } from "./root_keys.ts";

/** Rows of a cursor's page: a country renamed touches a million cities, which must not come at once. */
const PAGE = 5_000;

/**
 * The keys that a statement gives, page by page.
 *
 * @throws postgres.js' errors
 */
export async function* cursorKeys(
  sql: Session,
  statement: string,
  parameters: readonly string[],
): AsyncGenerator<RootKey[]> {
  const query = sql.unsafe(statement, [...parameters], { prepare: true });
  for await (const rows of query.values().cursor(PAGE)) {
    yield rows.map((row) => joinKey(row.map(String)));
  }
}
