import type { MemoryBudget } from "../memory/budget.ts";
import type { MemoryShare } from "../memory/share.ts";
import { BodyMemory } from "../search/bulk_body.ts";

/** The size of the requests that are made. */
export interface RequestLimits {
  /** A bulk request is sent when its body reaches this many bytes… */
  readonly bulkBytes: number;
  /** …or this many documents. */
  readonly bulkDocuments: number;
}

/** The least room that a request is left, its items included, however many there are at once. */
const LEAST_REQUEST = 192 * 1024;
/** A page of documents that is compared has this part of the share, at most. */
const PAGES = 32;
/**
 * What is kept of a document besides its bytes until it is acknowledged, about: its id, its place in the request, in the list of what is on its
 * way, and in the answer.
 */
export const BYTES_AN_ITEM = 512;
/** A key as it is handed on: link value, root key and its place in a statement, about. */
const BYTES_A_KEY = 512;
/** A difference that a comparison has found, about. */
const BYTES_A_DIFFERENCE = 256;
/** The most bytes of documents that are compared at once. */
const LARGEST_PAGE = 512 * 1024;
const FEWEST_KEYS = 100;
const MOST_KEYS = 5_000;
const FEWEST_ROWS = 500;

/**
 * The memory in which documents are looked up, built, compared and sent; one for all indices of a run. Documents wait for theirs. Keys and
 * differences come in pages of a size that leaves each reader its part.
 */
export class WorkMemory implements RequestLimits {
  /** For documents; whoever holds some of it waits for no more of it. */
  readonly documents: MemoryShare;
  readonly keys: MemoryShare;
  /** For copies of what is sent again. */
  readonly copies: MemoryShare;
  readonly bulkBytes: number;
  readonly bulkDocuments: number;
  /** One for all, so that there are never more bodies than have room. */
  readonly bodies: BodyMemory;
  /** Bytes of documents that are compared at once. */
  readonly pageBytes: number;
  /** Keys in a page. */
  readonly pageKeys: number;
  /** Bytes of keys that one reader remembers, so as not to give them twice. */
  readonly rememberedBytes: number;
  readonly #mostDifferences: number;

  /**
   * @param wanted the size of requests that is asked for; smaller ones are made where so many have no room beside each other
   * @param readers how many may read keys or compare documents at once
   * @param requests how many are under way or collected at once
   */
  constructor(budget: MemoryBudget, wanted: RequestLimits, readers: number, requests: number) {
    this.documents = budget.documents;
    this.keys = budget.keys;
    this.copies = budget.requests;
    const { limit } = budget.documents;
    const room = Math.max(LEAST_REQUEST, Math.floor(limit / requests));
    // Half for the body, where so much is asked for: small documents fill the other half with what is kept of each.
    this.bulkBytes = Math.min(wanted.bulkBytes, BodyMemory.bodyOfRoom(room / 2));
    this.bodies = new BodyMemory(this.bulkBytes, requests);
    const items = Math.floor((room - this.bodies.roomFor(0)) / BYTES_AN_ITEM);
    this.bulkDocuments = Math.min(wanted.bulkDocuments, items);
    this.pageBytes = Math.min(LARGEST_PAGE, Math.floor(limit / PAGES));
    const part = budget.keys.limit / Math.max(1, readers);
    this.pageKeys = Math.max(FEWEST_KEYS, Math.min(MOST_KEYS, Math.floor(part / 4 / BYTES_A_KEY)));
    // A set of keys may double when one more is added.
    this.rememberedBytes = Math.floor(part / 8);
    this.#mostDifferences = Math.max(FEWEST_ROWS, Math.floor(part / 2 / BYTES_A_DIFFERENCE));
  }

  /** What a request of so many documents takes. @param bytes the most that its body takes, where that is more than usual */
  roomOfRequest(documents: number, bytes = 0): number {
    return this.bodies.roomFor(bytes) + documents * BYTES_AN_ITEM;
  }

  /** What it takes to compare so many documents with those of the index. @param bytes of the documents, where they are more than usual */
  roomOfPage(documents: number, bytes = 0): number {
    return 2 * Math.max(this.pageBytes, bytes) + documents * BYTES_AN_ITEM;
  }

  /** The bytes of so many documents that have room in what `roomOfPage` gave. */
  pageOfRoom(documents: number, room: number): number {
    return Math.max(0, room - documents * BYTES_AN_ITEM) / 2;
  }

  /** Rows of a chunk that may all differ. @param wanted how many are asked for */
  chunkRows(wanted: number): number {
    return Math.min(wanted, this.#mostDifferences);
  }
}

/** What a number of differences takes. */
export function bytesOfDifferences(count: number): number {
  return count * BYTES_A_DIFFERENCE;
}

/** What a page of keys takes, with what is made of it on its way. */
export function bytesOfKeys(keys: readonly string[]): number {
  let bytes = 0;
  for (const key of keys) bytes += 2 * (key.length + 48);
  return bytes;
}
