import { getLogger } from "@logtape/logtape";
import { z } from "zod";
import { leftOutSql } from "../mapping/root_rows_sql.ts";
import type { MappedDocument } from "../mapping/tree.ts";
import { connectPostgres, errorContext, type Sql } from "../postgres/connect.ts";
import { postgresError } from "../postgres/errors.ts";
import { quoteQualified } from "../postgres/quote.ts";
import { delayOrAbort } from "../retry/backoff.ts";
import type { StatusBoard } from "../status/status_board.ts";
import type { DatabaseState } from "./database_state.ts";
import type { RunOptions } from "./options.ts";

const logger = getLogger(["pgsync", "sync"]);

/** Each count reads the whole view. */
const INTERVAL_MS = 60 * 60_000;
/** Who is about to change a table must not wait for a mere count behind a count that waits. */
const LOCK_TIMEOUT = "1s";

/** bigint and numeric come as text. */
const countRow = z.object({
  nameless: z.coerce.number(),
  repeated: z.coerce.number(),
  example: z.string().nullable(),
});

/** What a count works with. */
export interface LeftOutRowsOptions {
  readonly run: RunOptions;
  readonly state: DatabaseState;
  readonly board: StatusBoard;
}

/**
 * Tells the operator of rows of a view that are no documents, as their key has a NULL in it or is another row's, too: nobody
 * enforces the key that the schema file gives to a view. Counted at the beginning and every hour.
 *
 * @param once only at the beginning
 * @returns at the signal, which cuts off a count, or after the only one
 */
export async function watchLeftOutRows(
  { run, state: { database, mapping }, board }: LeftOutRowsOptions,
  signal: AbortSignal,
  { once }: { readonly once: boolean },
): Promise<void> {
  const documents = mapping.documents.filter((mapped) => leftOutSql(mapped) !== null);
  if (documents.length === 0) return;
  const sql = connectPostgres(run.postgresReplica ?? run.postgres, {
    database,
    purpose: "count",
    max: 1,
    kind: "builder",
    lockTimeout: LOCK_TIMEOUT,
  });
  const close = () => void sql.end({ timeout: 0 });
  signal.addEventListener("abort", close, { once: true });
  while (!signal.aborted) {
    for (const mapped of documents) await countLeftOutRows(sql, mapped, board, signal);
    if (once) break;
    await delayOrAbort(INTERVAL_MS, signal);
  }
  signal.removeEventListener("abort", close);
  close();
}

/** Counts the rows of one view, and has the board tell of them. */
export async function countLeftOutRows(
  sql: Sql,
  mapped: MappedDocument,
  board: StatusBoard,
  signal: AbortSignal,
): Promise<void> {
  const statement = leftOutSql(mapped);
  if (statement === null) return;
  const { index } = mapped.schema;
  try {
    const [row] = await sql.unsafe(statement);
    board.stand(`rows of ${index}`, leftOutMessage(mapped, countRow.parse(row)));
  } catch (thrown) {
    // Its connection was closed under it.
    if (signal.aborted) return;
    const { message } = postgresError(thrown, errorContext(sql, "count rows that are no documents"));
    logger.info("rows that are no documents of index {index} could not be counted: {message}", {
      index,
      message,
    });
  }
}

function leftOutMessage(
  { schema: { index }, root: { relation } }: MappedDocument,
  { nameless, repeated, example }: z.infer<typeof countRow>,
): string | null {
  const rows = (count: number) => count === 1 ? "1 row" : `${count} rows`;
  const parts = [
    ...nameless > 0 ? [`${rows(nameless)}, in whose key there is a NULL`] : [],
    ...repeated > 0 ? [`${rows(repeated)}, whose key is another row's, too (of _id "${example}", say)`] : [],
  ];
  if (parts.length === 0) return null;
  return `The index "${index}" lacks rows of ${
    quoteQualified(relation)
  }, by the primary_key that the schema file gives it: ` +
    `${parts.join("; ")}.`;
}
