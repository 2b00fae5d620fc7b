import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import type { BulkItem } from "./bulk_body.ts";
import { type EngineError, errorSchema, flattenError, judge, refusal } from "./errors.ts";
import type { SearchResponse } from "./response.ts";

/** A document that the engine refused for good. */
export interface RefusedItem extends EngineError {
  readonly id: string;
  readonly operation: BulkItem["operation"];
  readonly status: number;
}

/** What became of the items of a bulk request that was answered. */
export interface BulkAnswer {
  readonly indexed: number;
  /** Deletions carried out, and those of documents that were not there. */
  readonly deleted: number;
  /** Ids of the items that were older than what the index holds. */
  readonly conflicts: readonly string[];
  /** Ids of documents that the engine did not know; empty where nobody asked. */
  readonly created: readonly string[];
  readonly refused: readonly RefusedItem[];
  /** Items to send again, and why. */
  readonly again: readonly AgainItem[];
}

/** An item that may succeed later. */
export interface AgainItem {
  readonly item: BulkItem;
  readonly status: number;
  readonly error: PgsyncError;
  readonly refusal: RefusedItem;
}

/** What an answer need hold, so that it stays small; the status of every item keeps the items in step with the request. */
export const BULK_FILTER = "errors,items.*.status,items.*.error";

const answerSchema = z.object({ errors: z.boolean(), items: z.array(z.unknown()) });
const itemsSchema = z.array(
  z.record(z.string(), z.object({ status: z.number(), error: errorSchema.optional() })),
);

/** `invalid_index_name_exception` is what a write alias without its index answers (see `writeAlias`). */
const ALIAS_GONE = "invalid_index_name_exception";

/**
 * Reads the answer to a bulk request.
 *
 * @param items the items that were sent, in their order
 * @param doing what was asked, continuing "The search engine refused to …"
 * @param wantsCreated tell which documents the engine did not know; it costs the reading of every item
 * @throws PgsyncError INDEX_MISSING or SEARCH_LOGIN where an item says so; SEARCH_UNAVAILABLE where the answer does not
 *   fit the request
 */
export function readBulkAnswer(
  response: SearchResponse,
  items: readonly BulkItem[],
  doing: string,
  wantsCreated = false,
): BulkAnswer {
  const { errors, items: answers } = response.read(answerSchema);
  const parsed = errors || wantsCreated ? itemsSchema.safeParse(answers) : null;
  if (answers.length !== items.length || parsed?.success === false) {
    throw new PgsyncError(
      "SEARCH_UNAVAILABLE",
      `The search engine's answer does not fit the request to ${doing}.`,
    );
  }
  const counts = { index: 0, delete: 0 };
  const conflicts: string[] = [];
  const refused: RefusedItem[] = [];
  const again: AgainItem[] = [];
  const created: string[] = [];
  for (const [place, item] of items.entries()) {
    const answer = Object.values(parsed?.data[place] ?? {})[0];
    // Deleting what is not there is answered 404 without an error.
    if (answer?.error === undefined) {
      counts[item.operation]++;
      if (wantsCreated && answer?.status === 201) created.push(item.id);
      continue;
    }
    const { status } = answer;
    const error = flattenError(answer.error);
    const verdict = error.type === ALIAS_GONE ? "index-missing" : judge(status, error.type);
    if (status === 409) conflicts.push(item.id);
    else if (verdict === "index-missing" || verdict === "login") throw refusal(verdict, status, error, doing);
    else {
      const refusedItem = { id: item.id, operation: item.operation, status, ...error };
      if (verdict === "temporary") {
        again.push({ item, status, error: refusal(verdict, status, error, doing), refusal: refusedItem });
      } else refused.push(refusedItem);
    }
  }
  return { indexed: counts.index, deleted: counts.delete, conflicts, created, refused, again };
}
