import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import type { TableState } from "../../catalog/table_state.ts";
import type { MappedDocument } from "../../mapping/tree.ts";
import { type DocumentSource, documentSource, readSource, writeSource } from "./document_source.ts";

/**
 * Keeps in the checkpoint file what the documents of each index were made of. What demands that all documents are read
 * again is stored when that is acknowledged, not before: whoever is interrupted finds the difference again.
 */
export class SourceKeeper {
  /** What each index has been found to be made of in this run. */
  readonly #known = new Map<string, DocumentSource>();
  /** Comparisons under way. */
  readonly #unsettled = new Map<string, number>();
  #isClosed = false;

  constructor(private readonly checkpoint: Checkpoint) {}

  /** What the file says of an index; null where it says nothing. */
  stored(index: string): DocumentSource | null {
    const text = this.checkpoint.source(index);
    return text === null ? null : readSource(text);
  }

  /** Whether the root's key is known to be made of the same columns as when the documents were last equal. */
  keptKey(mapped: MappedDocument, tables: readonly TableState[]): boolean {
    return this.stored(mapped.schema.index)?.key === documentSource(mapped, tables).key;
  }

  /** What was last found. */
  known(index: string): DocumentSource | null {
    return this.#known.get(index) ?? null;
  }

  /** Notes what was found where no document could show a difference. */
  found(index: string, source: DocumentSource): void {
    this.#known.set(index, source);
    if ((this.#unsettled.get(index) ?? 0) === 0) this.#store(index);
  }

  /**
   * Notes what was found where all documents have to be read again.
   *
   * @returns to be called when all of them are acknowledged
   */
  demands(index: string, source: DocumentSource): () => void {
    this.#known.set(index, source);
    this.#unsettled.set(index, (this.#unsettled.get(index) ?? 0) + 1);
    return () => {
      const left = (this.#unsettled.get(index) ?? 1) - 1;
      this.#unsettled.set(index, left);
      // What has been found since, if anything, demanded nothing.
      if (left === 0) this.#store(index);
    };
  }

  /** Stores nothing more, whatever is found: a look that is under way still ends, and the file may be another life's from now on. */
  close(): void {
    this.#isClosed = true;
  }

  #store(index: string): void {
    if (this.#isClosed) return;
    const source = this.#known.get(index);
    if (source === undefined) return;
    const text = writeSource(source);
    if (this.checkpoint.source(index) !== text) this.checkpoint.saveSource(index, text);
  }
}
