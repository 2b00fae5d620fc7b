/**
 * The JSON of `/dead-letters` and of what is asked of it: what the server and `pgsync dead-letters` send to each other. LSNs
 * are text as PostgreSQL prints them, times ISO 8601 in UTC. Fields may be added; none changes its meaning.
 */
import { z } from "zod";
import type { DeadLetter } from "../checkpoint/types.ts";
import { formatLsn, parseLsn } from "../replication/lsn.ts";
import type { DeadLetterPage } from "../sync/dead_letters/dead_letters.ts";

/** The most dead letters in one answer. */
export const MOST_LISTED = 1_000;
/** The most ids in one request. */
export const MOST_IDS = 1_000;
/** The longest body of a request, in bytes. */
export const MOST_BODY_BYTES = 1024 * 1024;

const time = z.iso.datetime();
const lsn = z.string().regex(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/);
const count = z.number().int().nonnegative();
const cursor = z.strictObject({ index: z.string(), id: z.string() });

const deadLetterJson = z.object({
  index: z.string(),
  id: z.string(),
  operation: z.enum(["index", "delete"]),
  status: count,
  type: z.string(),
  reason: z.string(),
  position: lsn.nullable(),
  firstAt: time,
  lastAt: time,
  tries: count,
});

/** The JSON of a dead letter. */
export type DeadLetterJson = z.infer<typeof deadLetterJson>;

/** Reads the answer to `GET /dead-letters`. */
export const deadLetterPageJson = z.object({
  total: count,
  deadLetters: z.array(deadLetterJson),
  next: cursor.nullable(),
});

/** Either `id` or `all`: a request that says nothing must not mean everything. Unknown fields are refused, for one may be a wrong name of `id`. */
const selection = z.strictObject({
  index: z.array(z.string()).optional(),
  id: z.array(z.string()).max(MOST_IDS).optional(),
  all: z.literal(true).optional(),
});

function saysWhich({ id, all }: z.infer<typeof selection>): boolean {
  return (id === undefined) !== (all === undefined);
}

const WHICH = { error: "either `id` or `all` must be given" };

/** What is asked of `POST /dead-letters/drop`. */
export const dropJson = selection.refine(saysWhich, WHICH);
/** What is asked of `POST /dead-letters/retry`. */
export const retryJson = selection.extend({ after: cursor.nullish() }).refine(saysWhich, WHICH);

/** A request of `POST /dead-letters/drop`. */
export type DropJson = z.infer<typeof dropJson>;
/** A request of `POST /dead-letters/retry`. */
export type RetryJson = z.infer<typeof retryJson>;

/** Reads the answer to `POST /dead-letters/retry`. */
export const retriedJson = z.object({
  found: count,
  taken: count,
  refused: count,
  pending: count,
  next: cursor.nullable(),
});

/** Reads the answer to `POST /dead-letters/drop`. */
export const droppedJson = z.object({ dropped: count });

/** Reads an answer that says no. */
export const refusalJson = z.object({
  error: z.string(),
  code: z.string().optional(),
  remedy: z.string().optional(),
});

/** Makes the JSON of a dead letter. */
export function toDeadLetterJson(letter: DeadLetter): DeadLetterJson {
  const { index, id, operation, status, type, reason, position, firstAt, lastAt, tries } = letter;
  return {
    index,
    id,
    operation,
    status,
    type,
    reason,
    position: position === null ? null : formatLsn(position),
    firstAt: firstAt.toISOString(),
    lastAt: lastAt.toISOString(),
    tries,
  };
}

/** Makes a page of its JSON. */
export function readPage({ total, deadLetters, next }: z.infer<typeof deadLetterPageJson>): DeadLetterPage {
  return {
    total,
    next,
    deadLetters: deadLetters.map((letter) => ({
      ...letter,
      position: letter.position === null ? null : parseLsn(letter.position),
      firstAt: new Date(letter.firstAt),
      lastAt: new Date(letter.lastAt),
    })),
  };
}
