import type { ChangePipeline } from "../../changes/change_pipeline.ts";
import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { keysOf } from "../../documents/root_keys.ts";
import { PgsyncError } from "../../errors/error.ts";
import type { MappedDocument } from "../../mapping/tree.ts";
import type { DeadLetterPlace } from "./dead_letters.ts";

/** What writes the documents of a run while it follows its database. */
interface Writing {
  readonly pipeline: Pick<ChangePipeline, "rewrite">;
  readonly documents: readonly MappedDocument[];
}

/** The dead letters of the database that a run follows: there is something to be done with them while it does. */
export class DeadLetterDesk implements DeadLetterPlace {
  #checkpoint: Checkpoint | null = null;
  #writing: Writing | null = null;
  /** Who waits for documents, and has to be told where nobody writes them any more. */
  readonly #waiting = new Set<(reason: PgsyncError) => void>();

  constructor(private readonly database: string) {}

  /** The checkpoint file is open until what this returns is disposed of. */
  opened(checkpoint: Checkpoint): Disposable {
    this.#checkpoint = checkpoint;
    return { [Symbol.dispose]: () => void (this.#checkpoint = null) };
  }

  /** Documents can be written until what this returns is disposed of. */
  writes(writing: Writing): Disposable {
    this.#writing = writing;
    return {
      [Symbol.dispose]: () => {
        this.#writing = null;
        for (const reject of this.#waiting) reject(this.#notNow());
        this.#waiting.clear();
      },
    };
  }

  checkpoint(): Checkpoint {
    if (this.#checkpoint === null) throw this.#notNow();
    return this.#checkpoint;
  }

  /** By the way of all changes: a document that a change touches meanwhile is not in two requests at once. */
  rewrite(index: string, ids: readonly string[]): Promise<void> {
    const writing = this.#writing;
    const mapped = writing?.documents.find(({ schema }) => schema.index === index);
    if (writing === null || mapped === undefined) throw this.#notNow();
    const keys = keysOf(ids, mapped);
    if (keys.length === 0) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.add(reject);
    writing.pipeline.rewrite(mapped, keys, () => {
      this.#waiting.delete(reject);
      resolve();
    });
    return promise;
  }

  #notNow(): PgsyncError {
    return new PgsyncError(
      "RUN_NOT_THERE_YET",
      `The run of database "${this.database}" is starting, ending, or maps its tables anew.`,
    );
  }
}
