import type { Held } from "../memory/share.ts";
import { BulkBody, type BulkRequest } from "../search/bulk_body.ts";
import type { DocumentCollector } from "./document_builder.ts";
import type { Overflow } from "./in_portions.ts";
import { BYTES_AN_ITEM, type WorkMemory } from "./work_memory.ts";

/** A portion becomes so many requests at most, where its documents are larger than those before: what comes beyond is built again. */
const MOST_BODIES = 3;

/** The documents of one portion on their way into requests, in the memory that is held for it. */
export class PortionOfRequests {
  readonly #bodies: BulkBody[] = [];
  /** Room that is spoken for: that of the items, and what the bodies take. */
  #taken: number;
  #documents = 0;
  #isLent = false;
  #overflow: (Overflow & { readonly id: string }) | null = null;

  /** @param held room for the documents' items and at least one body @param keys of how many keys they are: the rows of a view may share them */
  constructor(
    private readonly memory: WorkMemory,
    private readonly held: Held,
    private readonly keys: number,
    private readonly version: bigint,
    private readonly pipeline: string | null,
  ) {
    this.#taken = keys * BYTES_AN_ITEM;
  }

  /** What did not have room, with the id of the first such document; null where all did. */
  get overflow(): (Overflow & { readonly id: string }) | null {
    return this.#overflow;
  }

  /** Documents that had room. */
  get documents(): number {
    return this.#documents;
  }

  /** Their bytes. */
  get bytes(): number {
    return this.#bodies.reduce((sum, body) => sum + body.byteLength, 0);
  }

  /** The room was given back before anything came. Then an overflow only tells that others have it now. */
  get isLent(): boolean {
    return this.#isLent;
  }

  /** Gives the room back where nothing has come yet. It is taken again, where it is free, when something comes. */
  lend(): void {
    if (this.#documents > 0 || this.#overflow !== null) return;
    this.held.resize(0);
    this.#isLent = true;
  }

  /** Takes the documents of one statement; what it discards leaves those of the statements before. Statements come one after the other. */
  begin(): DocumentCollector {
    const bodies = this.#bodies.length;
    const inLast = this.#bodies.at(-1)?.count ?? 0;
    const documents = this.#documents;
    const taken = this.#taken;
    const overflow = this.#overflow;
    return {
      add: (id, document) => this.#add(id, document),
      discard: () => {
        for (const body of this.#bodies.splice(bodies)) body.take(0).release?.();
        this.#bodies.at(-1)?.truncate(inLast);
        this.#documents = documents;
        this.#taken = taken;
        this.#overflow = overflow;
      },
    };
  }

  /** @param builtAt when the documents began to be read, in milliseconds since 1970 */
  requests(builtAt: number): readonly BulkRequest[] {
    return this.#bodies.splice(0).map((body) => body.take(builtAt));
  }

  /** Nothing of it is sent. */
  discard(): void {
    for (const request of this.requests(0)) request.release?.();
  }

  #add(id: string, document: Buffer | null): void {
    if (this.#overflow !== null) return;
    const body = this.#bodyFor(id, document);
    if (body === null) return;
    this.#documents++;
    if (document === null) body.delete(id, this.version);
    else body.index(id, this.version, document);
  }

  /** A body that has room for the document; null where there is none. */
  #bodyFor(id: string, document: Buffer | null): BulkBody | null {
    const { bulkBytes, bulkDocuments, bodies } = this.memory;
    const last = this.#bodies.at(-1);
    const body = last ?? new BulkBody(this.pipeline, bodies);
    const bytes = body.mostBytes(id, document?.length ?? null);
    // Room for an item of each key is spoken for.
    const item = this.#documents < this.keys ? 0 : BYTES_AN_ITEM;
    if (last !== undefined && last.byteLength + bytes <= bodies.roomFor(0)) {
      if (last.count === 0 || (last.byteLength < bulkBytes && last.count < bulkDocuments)) {
        if (item === 0 || this.#takeRoom(item)) return last;
      }
    }
    // The rows that share a key cannot be divided.
    const mayBegin = this.#bodies.length < MOST_BODIES || this.keys === 1;
    if (mayBegin && this.#takeRoom(bodies.roomFor(bytes) + item)) {
      const next = last === undefined ? body : new BulkBody(this.pipeline, bodies);
      this.#bodies.push(next);
      return next;
    }
    this.#overflow = { id, documents: this.documents, room: this.memory.roomOfRequest(1, bytes) };
    return null;
  }

  #takeRoom(bytes: number): boolean {
    const missing = this.#taken + bytes - this.held.bytes;
    if (missing > 0 && !this.held.tryGrow(missing)) return false;
    this.#taken += bytes;
    return true;
  }
}
