import { missingKeysSql } from "../mapping/document_sql.ts";
import { arrayLiteral } from "../postgres/array.ts";
import { rowFaultOf } from "../postgres/errors.ts";
import { havePassed } from "./garbage.ts";
import type { IndexWriter } from "./index_writer.ts";
import { joinKey, keyColumns, type RootKey } from "./root_keys.ts";
import type { ServerMoment } from "./source_clock.ts";
import type { SourceSession } from "./source_session.ts";

/**
 * Of the keys that an index holds, those that have no root row: for each page a page, which may be empty.
 *
 * @param pages keys as `indexedKeys` gives them
 * @param moment what is read holds everything before it
 * @param onImpossible told of each key that no row can have; it is not among those that are given
 * @throws postgres.js' errors; PgsyncError as `SourceSession.lease`
 */
export async function* missingRoots(
  pages: AsyncIterable<readonly RootKey[]>,
  writer: IndexWriter,
  session: SourceSession,
  moment: ServerMoment,
  onImpossible: (key: RootKey) => void,
): AsyncGenerator<readonly RootKey[]> {
  const statement = missingKeysSql(writer.mapped);
  const width = writer.mapped.key.length;

  const missing = async (keys: readonly RootKey[]): Promise<RootKey[]> => {
    try {
      const parameters = keyColumns(keys, width).map(arrayLiteral);
      using lease = await session.lease(session.lookups, moment);
      const rows = await lease.sql.unsafe(statement, parameters, { prepare: true }).values();
      return rows.map((row) => joinKey(row.map(String)));
    } catch (thrown) {
      // A text that the key's type does not take. It is found by halving.
      if (rowFaultOf(thrown) === null) throw thrown;
      const [only] = keys;
      if (only !== undefined && keys.length === 1) {
        onImpossible(only);
        return [];
      }
      const middle = Math.ceil(keys.length / 2);
      return [...await missing(keys.slice(0, middle)), ...await missing(keys.slice(middle))];
    }
  };

  for await (const page of pages) {
    if (page.length === 0) continue;
    const gone = await missing(page);
    havePassed(page.length);
    yield gone;
  }
}
