import { PgsyncError } from "../errors/error.ts";
import type { RunOptions } from "./options.ts";

/** One document as it would be indexed. */
export interface PreviewDocument {
  readonly _index: string;
  readonly _id: string;
  /** JSON text as PostgreSQL made it, untouched. */
  readonly _source: string;
}

/**
 * Builds documents without a search engine.
 *
 * @param limit at most so many documents; null: all
 * @throws PgsyncError
 */
export function preview(
  _options: RunOptions,
  _limit: number | null,
  _signal?: AbortSignal,
): AsyncIterable<PreviewDocument> {
  throw new PgsyncError("INTERNAL", "preview is not built yet.");
}
