import {
  deadLetterPageJson,
  type DropJson,
  droppedJson,
  readPage,
  retriedJson,
  type RetryJson,
} from "../server/dead_letters_json.ts";
import type {
  DeadLetterAccess,
  DeadLetterPage,
  DeadLetterQuery,
  DeadLetterSelection,
  RetriedDeadLetters,
} from "../sync/dead_letters/dead_letters.ts";
import { askRun, type RunAddress } from "./ask_run.ts";

/** The run answers when what is tried again is written, or after 20 s. */
const TIMEOUT_MS = 60_000;

/** The dead letters of a running process, by its status server. Its errors are those of `askRun`. */
export class DeadLetterClient implements DeadLetterAccess {
  constructor(private readonly address: RunAddress) {}

  async list({ indices, ids, limit, after }: DeadLetterQuery): Promise<DeadLetterPage> {
    const query = new URLSearchParams();
    for (const index of indices) query.append("index", index);
    for (const id of ids ?? []) query.append("id", id);
    if (ids === null) query.set("limit", String(limit));
    if (ids === null && after !== null) {
      query.set("afterIndex", after.index);
      query.set("afterId", after.id);
    }
    const { answer } = await askRun(this.address, {
      path: `/dead-letters?${query}`,
      schema: deadLetterPageJson,
      timeoutMs: TIMEOUT_MS,
    });
    return readPage(answer);
  }

  async retry(selection: DeadLetterSelection): Promise<RetriedDeadLetters> {
    const { answer } = await askRun(this.address, {
      path: "/dead-letters/retry",
      body: { ...toJson(selection), after: selection.after } satisfies RetryJson,
      schema: retriedJson,
      timeoutMs: TIMEOUT_MS,
    });
    return answer;
  }

  async drop(selection: Omit<DeadLetterSelection, "after">): Promise<number> {
    const { answer } = await askRun(this.address, {
      path: "/dead-letters/drop",
      body: toJson(selection),
      schema: droppedJson,
      timeoutMs: TIMEOUT_MS,
    });
    return answer.dropped;
  }
}

function toJson({ indices, ids }: Omit<DeadLetterSelection, "after">): DropJson {
  const index = [...indices];
  return ids === null ? { index, all: true } : { index, id: [...ids] };
}
