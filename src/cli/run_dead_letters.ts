/** The work of `pgsync dead-letters`: whom to ask, what to ask for, the report and the exit code. */
import { Buffer } from "node:buffer";
import type { DeadLetter } from "../checkpoint/types.ts";
import { EXIT } from "../errors/codes.ts";
import { PgsyncError } from "../errors/error.ts";
import { MOST_IDS, MOST_LISTED, toDeadLetterJson } from "../server/dead_letters_json.ts";
import { chooseDocuments } from "../sync/choose_documents.ts";
import {
  type DeadLetterAccess,
  type DeadLetterCursor,
  type DeadLetterSelection,
  LISTED_BY_DEFAULT,
} from "../sync/dead_letters/dead_letters.ts";
import type { Context } from "./context.ts";
import type { Flags } from "./flags.ts";
import { toJson } from "./format.ts";
import { describeDeadLetters, describeRetried, type Retried } from "./print_dead_letters.ts";
import { openDeadLetters } from "./open_dead_letters.ts";
import { loadRunOptions } from "./run_options.ts";
import { SIGNAL_EXIT, stopOnSignals } from "./signals.ts";
import { wholeNumber } from "./values.ts";
import type { Environment } from "./variables.ts";

/** The options that only this command has, as text. */
export interface DeadLetterFlags extends Flags {
  readonly index?: readonly string[] | undefined;
  readonly id?: readonly string[] | undefined;
  readonly all?: boolean | undefined;
  readonly limit?: string | undefined;
  readonly url?: string | undefined;
  readonly json?: boolean | undefined;
}

/** What is to be done. */
export type DeadLetterAction = "list" | "retry" | "drop";

/** Ids in the body of a request are at most so many bytes. */
const MOST_ID_BYTES = 256 * 1024;
/** And those in an address, where each may become three: the server takes 16 kB in all. */
const MOST_ID_BYTES_IN_URL = 3 * 1024;
/** What stands around an id. */
const BYTES_AROUND_ID = 4;

/** Which dead letters are meant. */
interface Wanted {
  readonly indices: readonly string[];
  /** Null: all. */
  readonly ids: readonly string[] | null;
  /** Only a list has one. */
  readonly limit: number;
}

/** @throws PgsyncError USAGE, STATUS_UNREACHABLE; what the run or the servers say */
export async function runDeadLetters(
  context: Context,
  action: DeadLetterAction,
  flags: DeadLetterFlags,
  environment: Environment,
): Promise<void> {
  const limit = limitOf(action, flags);
  const run = await loadRunOptions(flags, environment);
  const documents = chooseDocuments(run.schema.documents, flags.index ?? null);
  const stop = stopOnSignals();
  try {
    await using opened = await openDeadLetters(run, documents, flags, environment, stop.signal);
    const { access, indices } = opened;
    const wanted = { indices, ids: flags.id ?? null, limit };
    if (action === "list") await list(context, access, wanted, flags.json === true);
    else if (action === "retry") await retry(context, access, wanted, flags.json === true, stop.signal);
    else await drop(context, access, wanted, flags.json === true);
  } catch (thrown) {
    const stopped = stop.received();
    if (stopped === null) throw thrown;
    context.exitCode = SIGNAL_EXIT[stopped];
  }
}

/** @throws PgsyncError USAGE */
function limitOf(action: DeadLetterAction, { id, all, limit }: DeadLetterFlags): number {
  if (action !== "list") {
    if (limit !== undefined) throw new PgsyncError("USAGE", `--limit is of list, not of ${action}.`);
    if ((id === undefined) === (all === undefined)) {
      throw new PgsyncError("USAGE", `${action} wants either --id or --all.`, {
        remedy: "Name the documents with --id, or say --all; --index narrows both.",
      });
    }
  }
  if (limit !== undefined && all !== undefined) {
    throw new PgsyncError("USAGE", "--limit and --all are both given.", { remedy: "Leave one of them out." });
  }
  if (all === true || id !== undefined) return Number.MAX_SAFE_INTEGER;
  return limit === undefined
    ? LISTED_BY_DEFAULT
    : wholeNumber({ where: "--limit", value: limit }, 1, 1_000_000_000);
}

async function list(
  context: Context,
  access: DeadLetterAccess,
  wanted: Wanted,
  json: boolean,
): Promise<void> {
  const { ids, limit } = wanted;
  const found: DeadLetter[] = [];
  let total = 0;
  for (const selection of selections(wanted, MOST_ID_BYTES_IN_URL)) {
    for (let after: DeadLetterCursor | null = null;;) {
      const most = Math.min(MOST_LISTED, limit - found.length);
      const page = await access.list({ ...selection, limit: most, after });
      total = page.total;
      found.push(...page.deadLetters);
      after = page.next;
      if (after === null || found.length >= limit) break;
    }
  }
  const text = json
    ? toJson({ total, deadLetters: found.map(toDeadLetterJson) }, 2)
    : describeDeadLetters(found, total, ids === null);
  await context.output.write(`${text}\n`);
}

async function retry(
  context: Context,
  access: DeadLetterAccess,
  wanted: Wanted,
  json: boolean,
  stop: AbortSignal,
): Promise<void> {
  const sum: Retried = { found: 0, taken: 0, refused: 0, pending: 0 };
  let stuck = false;
  for (const selection of selections(wanted, MOST_ID_BYTES)) {
    for (let after: DeadLetterCursor | null = null; !stuck;) {
      stop.throwIfAborted();
      const { next, ...counts } = await access.retry({ ...selection, after });
      for (const key of ["found", "taken", "refused", "pending"] as const) sum[key] += counts[key];
      // Who has not answered at all would have to be waited for again.
      stuck = counts.pending > 0 && counts.taken + counts.refused === 0;
      after = next;
      if (after === null) break;
    }
  }
  await context.output.write(`${json ? toJson(sum, 2) : describeRetried(sum, stuck)}\n`);
  if (sum.pending > 0) context.exitCode = EXIT.connection;
  else if (sum.refused > 0) context.exitCode = EXIT.difference;
}

async function drop(
  context: Context,
  access: DeadLetterAccess,
  wanted: Wanted,
  json: boolean,
): Promise<void> {
  let dropped = 0;
  for (const selection of selections(wanted, MOST_ID_BYTES)) dropped += await access.drop(selection);
  const text = json
    ? toJson({ dropped }, 2)
    : dropped === 1
    ? "1 dead letter dropped"
    : `${dropped} dead letters dropped`;
  await context.output.write(`${text}\n`);
}

/** Ids, in portions that a request takes. */
function* selections(
  { indices, ids }: Wanted,
  mostBytes: number,
): Generator<Omit<DeadLetterSelection, "after">> {
  if (ids === null) {
    yield { indices, ids };
    return;
  }
  let portion: string[] = [];
  let bytes = 0;
  for (const id of new Set(ids)) {
    if (portion.length === MOST_IDS || bytes > mostBytes) {
      yield { indices, ids: portion };
      portion = [];
      bytes = 0;
    }
    portion.push(id);
    bytes += Buffer.byteLength(id) + BYTES_AROUND_ID;
  }
  if (portion.length > 0) yield { indices, ids: portion };
}
