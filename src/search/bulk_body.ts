/** What a bulk item does to its document. */
export type BulkOperation = "index" | "delete";

/** One document in a bulk request. */
export interface BulkItem {
  readonly id: string;
  readonly operation: BulkOperation;
  readonly version: bigint;
  /** Its lines are the bytes from `start` up to `end` of the body. */
  readonly start: number;
  readonly end: number;
}

/** A bulk request, ready to be sent. */
export interface BulkRequest {
  /** Newline-delimited JSON. */
  readonly body: Buffer;
  readonly items: readonly BulkItem[];
  /** When the oldest of its documents was read from PostgreSQL, in milliseconds since 1970. */
  readonly builtAt: number;
  /** Gives the body's memory back; to be called only when nothing can read it any more. Absent where it is not reused. */
  readonly release?: () => void;
}

/** An action line without the id and the pipeline, in UTF-16 units. */
const LONGEST_ACTION = 128;
const NEWLINE = 0x0a;
const BLANK = 0x20;
const FIRST_CAPACITY = 64 * 1024;
/** Requests that are allowed to be larger grow instead of taking all of it at once. */
const LARGEST_REUSED = 16 * 1024 * 1024;

/**
 * Memory for the bodies of one kind of request after the other. Without it each body of some megabytes is garbage four times
 * its size (it grows by doubling) that the collector is slow to notice: measured, 150 to 200 MB more resident memory
 * during a load.
 */
export class BodyMemory {
  readonly #free: Buffer[] = [];
  readonly #capacity: number;

  /**
   * @param bodyBytes the size from which on a body is sent
   * @param most how many are kept for others; nobody counts them
   */
  constructor(bodyBytes: number, private readonly most: number) {
    // The last document goes beyond; a larger one makes its body grow, and is an exception.
    this.#capacity = Math.min(bodyBytes, LARGEST_REUSED) + FIRST_CAPACITY;
  }

  /** The size from which on bodies may be sent that shall have so much room. */
  static bodyOfRoom(bytes: number): number {
    return Math.floor(bytes) - FIRST_CAPACITY;
  }

  /** The memory that a body of so many bytes takes in the end: one that is larger than the others grows. */
  roomFor(bytes: number): number {
    return bytes <= this.#capacity ? this.#capacity : Math.max(bytes, this.#capacity * 2);
  }

  /** Memory that nobody else has. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#capacity);
  }

  /** Takes memory back; that of a body that had grown, or that is one too many, is left to the collector. */
  give(buffer: Buffer): void {
    if (buffer.length === this.#capacity && this.#free.length < this.most) this.#free.push(buffer);
  }
}

/**
 * The action line that writes a document, without its line break. `JSON.stringify` escapes all that could end the
 * string or the line, lone surrogates included.
 */
function indexAction(id: string, version: bigint, pipeline: string | null = null): string {
  const through = pipeline === null ? "" : `,"pipeline":${JSON.stringify(pipeline)}`;
  return `{"index":{"_id":${
    JSON.stringify(id)
  },"version":${version},"version_type":"external_gte"${through}}}`;
}

/** The action line that deletes a document, without its line break. */
function deleteAction(id: string, version: bigint): string {
  return `{"delete":{"_id":${JSON.stringify(id)},"version":${version},"version_type":"external_gte"}}`;
}

/**
 * Collects the documents of a bulk request.
 *
 * The bytes of a document are copied once and passed on as PostgreSQL made them, with one exception: a line break, which
 * a `json` column may hold between its tokens, would end the item and becomes a blank. (Within a JSON string a
 * line break is always escaped, and no byte of a longer UTF-8 character equals one.)
 */
export class BulkBody {
  #buffer: Buffer = Buffer.alloc(0);
  #length = 0;
  #items: BulkItem[] = [];
  readonly #pipeline: string | null;
  readonly #memory: BodyMemory | null;

  /**
   * @param pipeline the ingest pipeline that documents go through
   * @param memory where bodies get their memory from; null: new memory for each
   */
  constructor(pipeline: string | null = null, memory: BodyMemory | null = null) {
    this.#pipeline = pipeline;
    this.#memory = memory;
  }

  /** Bytes so far. */
  get byteLength(): number {
    return this.#length;
  }

  /** Documents so far. */
  get count(): number {
    return this.#items.length;
  }

  /** The most bytes that the lines of a document can take. @param document its length; null: a deletion */
  mostBytes(id: string, document: number | null): number {
    // `JSON.stringify` makes six units of one at most, and memory for three bytes each is asked for.
    const action = 3 * (6 * id.length + LONGEST_ACTION + (this.#pipeline?.length ?? 0) * 6) + 1;
    return action + (document === null ? 0 : document + 1);
  }

  /** Forgets all documents but the first ones. @param count so many */
  truncate(count: number): void {
    this.#items.length = Math.min(count, this.#items.length);
    this.#length = this.#items.at(-1)?.end ?? 0;
  }

  /** Adds a document. @param bytes hold its JSON, UTF-8, from `from` up to `to` */
  index(id: string, version: bigint, bytes: Buffer, from = 0, to = bytes.length): void {
    const start = this.#length;
    this.#line(indexAction(id, version, this.#pipeline));
    this.#reserve(to - from + 1);
    const end = this.#length + to - from;
    bytes.copy(this.#buffer, this.#length, from, to);
    // The item's own line break ends each search, which would otherwise go on through all of the spare capacity.
    this.#buffer[end] = NEWLINE;
    let lineBreak = this.#buffer.indexOf(NEWLINE, this.#length);
    while (lineBreak < end) {
      this.#buffer[lineBreak] = BLANK;
      lineBreak = this.#buffer.indexOf(NEWLINE, lineBreak + 1);
    }
    this.#length = end + 1;
    this.#items.push({ id, operation: "index", version, start, end: this.#length });
  }

  /** Adds the deletion of a document. */
  delete(id: string, version: bigint): void {
    const start = this.#length;
    this.#line(deleteAction(id, version));
    this.#items.push({ id, operation: "delete", version, start, end: this.#length });
  }

  /**
   * The request with all that was added; the collection is empty afterwards and may be used again.
   *
   * @param builtAt when the oldest of the documents was read, in milliseconds since 1970
   */
  take(builtAt: number): BulkRequest {
    const buffer = this.#buffer;
    const body = buffer.subarray(0, this.#length);
    const request: BulkRequest = { body, items: this.#items, builtAt, ...this.#releaseOf(buffer) };
    this.#buffer = Buffer.alloc(0);
    this.#length = 0;
    this.#items = [];
    return request;
  }

  #releaseOf(buffer: Buffer): Pick<BulkRequest, "release"> {
    const memory = this.#memory;
    if (memory === null) return {};
    let given = false;
    const release = () => {
      // Twice in the pool, it would be two bodies' memory at once.
      if (!given) memory.give(buffer);
      given = true;
    };
    return { release };
  }

  #line(text: string): void {
    // A UTF-16 unit is at most three bytes of UTF-8.
    this.#reserve(text.length * 3 + 1);
    this.#length += this.#buffer.write(text, this.#length, "utf8");
    this.#buffer[this.#length++] = NEWLINE;
  }

  /** Grows by doubling, so that each byte is moved about once more, however many documents there are. */
  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (this.#buffer.length === 0 && this.#memory !== null) this.#buffer = this.#memory.take();
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2, FIRST_CAPACITY));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
