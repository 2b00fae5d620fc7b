import type { Socket } from "node:net";

/**
 * What passes by on a connection, and which connections there are. Three things are taken from the server's messages: the key of the session, to cancel its
 * statements; the data of a COPY, where somebody wants them as they are; and the FATAL message with which a server takes its leave, of which postgres.js would make either nothing
 * (CONNECTION_CLOSED) or, worse, the error of the first statement on the next connection. The rest goes through untouched
 * (https://www.postgresql.org/docs/current/protocol-message-formats.html).
 */

/** How PostgreSQL names a session when another connection asks to cancel its statement. */
export interface BackendKey {
  readonly pid: number;
  readonly secret: number;
}

const ERROR_RESPONSE = 0x45; // E
const BACKEND_KEY_DATA = 0x4b; // K
const READY_FOR_QUERY = 0x5a; // Z
const ROW_DESCRIPTION = 0x54; // T
const DATA_ROW = 0x44; // D
const COPY_DATA = 0x64; // d
const COMMAND_COMPLETE = 0x43; // C
const HEADER_BYTES = 5;
/** Before the login, anybody may be at the other end. libpq takes 30,000 bytes. */
const MAX_LOGIN_MESSAGE_BYTES = 65_536;

/** What the answer to a question is made of. */
const ANSWER: ReadonlySet<number> = new Set([ROW_DESCRIPTION, DATA_ROW, COMMAND_COMPLETE]);

/** What is asked on a connection that has just logged in, before postgres.js may use it. */
export interface LoginQuestion {
  /** Sends the question, a simple query with one row. */
  readonly ask: () => void;
  /** @param row of the answer, as text; or why there is none @returns whether the connection may be used */
  readonly onAnswer: (row: readonly (string | null)[] | Error) => boolean;
}

/**
 * Takes the contents of a CopyData message, which are the bytes from `start` up to `end`. They may be kept; they are never written to
 * again. Must not throw.
 */
export type CopyDataSink = (bytes: Buffer, start: number, end: number) => void;

/** Walks over the server's messages, cut anywhere, and copies only those that it needs. */
export class BackendTap {
  /** The session's key, known before its first statement. */
  key: BackendKey | null = null;
  /** The FATAL or PANIC error that the server sent. */
  fatal: Error | null = null;
  /** True once the login is complete (the first ReadyForQuery). */
  ready = false;
  /** True where a message before that is longer than any of PostgreSQL's; then nothing more is to be pushed. */
  overlong = false;
  /** Gets the data of a COPY, in place of postgres.js, which makes four objects of each row; null: postgres.js gets them. */
  copyData: CopyDataSink | null = null;

  #header = Buffer.alloc(HEADER_BYTES);
  #headerLength = 0;
  #bodyLeft = 0;
  /** The bytes of the message that is being kept. */
  #kept: Buffer[] | null = null;
  /** The message under way is not forwarded before it is known what it is, if at all. */
  #withheld = false;
  /** The question was sent. */
  #asked = false;
  #answer: readonly (string | null)[] | Error = [];

  /**
   * @param forward gets what postgres.js is to see: everything but FATAL errors, and the question
   * @param question to be answered first; null: none
   */
  constructor(
    private readonly forward: (bytes: Buffer) => void,
    private readonly question: LoginQuestion | null = null,
  ) {}

  /** @param chunk bytes as they came from the socket */
  push(chunk: Buffer): void {
    let position = 0;
    /** From here on the chunk has not been forwarded. */
    let unsent = 0;
    while (position < chunk.length) {
      const whole = this.#wholeMessage(chunk, position);
      if (whole !== null) {
        if (this.copyData !== null && chunk[position] === COPY_DATA) {
          if (position > unsent) this.forward(chunk.subarray(unsent, position));
          this.copyData(chunk, position + HEADER_BYTES, whole);
          unsent = whole;
        }
        position = whole;
        continue;
      }
      const from = position;
      if (this.#bodyLeft === 0 && this.#headerLength === 0) {
        this.#withheld = this.#withholds(chunk[position]);
        if (this.#withheld) {
          if (from > unsent) this.forward(chunk.subarray(unsent, from));
          this.#kept = [];
        }
      }
      const withheld = this.#withheld;
      if (this.#bodyLeft > 0) {
        const taken = Math.min(this.#bodyLeft, chunk.length - position);
        position += taken;
        this.#bodyLeft -= taken;
      } else {
        const taken = Math.min(HEADER_BYTES - this.#headerLength, chunk.length - position);
        chunk.copy(this.#header, this.#headerLength, position, position + taken);
        this.#headerLength += taken;
        position += taken;
        if (this.#headerLength === HEADER_BYTES) this.#headerEnds();
        if (this.overlong) return;
      }
      if (this.#kept !== null) this.#kept.push(Buffer.from(chunk.subarray(from, position)));
      if (withheld) unsent = position;
      if (this.#headerLength === 0 && this.#bodyLeft === 0) this.#messageEnds();
    }
    if (unsent < chunk.length) this.forward(unsent === 0 ? chunk : chunk.subarray(unsent));
  }

  /** Where the message ends that begins here, if all of it is here and nothing has to be learned of it; else null. */
  #wholeMessage(chunk: Buffer, position: number): number | null {
    if (!this.ready || this.#bodyLeft > 0 || this.#headerLength > 0) return null;
    if (position + HEADER_BYTES > chunk.length) return null;
    const type = chunk[position];
    if (type === ERROR_RESPONSE || type === BACKEND_KEY_DATA) return null;
    const length = chunk.readUInt32BE(position + 1);
    const end = position + 1 + length;
    return length < 4 || end > chunk.length ? null : end;
  }

  #withholds(type: number | undefined): boolean {
    if (type === ERROR_RESPONSE) return true;
    if (type === COPY_DATA && this.copyData !== null) return true;
    if (type === undefined || this.question === null || this.ready) return false;
    return type === READY_FOR_QUERY || this.#asked && ANSWER.has(type);
  }

  #headerEnds(): void {
    this.#headerLength = 0;
    // The length counts itself. One below 4 cannot be; postgres.js stops on it, so here it only must not loop.
    this.#bodyLeft = Math.max(0, this.#header.readUInt32BE(1) - 4);
    this.overlong = !this.ready && this.#bodyLeft > MAX_LOGIN_MESSAGE_BYTES;
    if (this.#header[0] === BACKEND_KEY_DATA) this.#kept = [];
  }

  #messageEnds(): void {
    const [type] = this.#header;
    const kept = this.#kept;
    this.#kept = null;
    if (type === READY_FOR_QUERY && !this.#isReady()) return;
    if (kept === null) return;
    const message = Buffer.concat(kept);
    if (type === ERROR_RESPONSE) this.#onError(message);
    else if (type === COPY_DATA) this.copyData?.(message, HEADER_BYTES, message.length);
    else if (type === BACKEND_KEY_DATA) {
      const body = message.subarray(message.length - 8);
      if (message.length >= 8) this.key = { pid: body.readUInt32BE(0), secret: body.readUInt32BE(4) };
    } else if (type === DATA_ROW) this.#answer = readDataRow(message.subarray(HEADER_BYTES));
    else if (type === READY_FOR_QUERY) this.forward(message);
  }

  /** Whether the login is complete, the question included. */
  #isReady(): boolean {
    if (this.question === null || this.ready) return this.ready = true;
    if (this.#asked) return this.ready = this.question.onAnswer(this.#answer);
    this.#asked = true;
    this.question.ask();
    return false;
  }

  #onError(message: Buffer): void {
    const fields = readErrorFields(message.subarray(HEADER_BYTES));
    const severity = fields.get("V") ?? "";
    if (severity === "FATAL" || severity === "PANIC") this.fatal = serverError(fields, severity);
    else if (this.#asked && !this.ready) this.#answer = serverError(fields, severity);
    else this.forward(message);
  }
}

function serverError(fields: ReadonlyMap<string, string>, severity: string): Error {
  const detail = fields.get("D");
  return Object.assign(new Error(fields.get("M") ?? ""), {
    code: fields.get("C") ?? "",
    severity,
    ...(detail === undefined ? {} : { detail }),
  });
}

/** The values of a DataRow, as text. */
function readDataRow(body: Buffer): (string | null)[] {
  const values: (string | null)[] = [];
  let position = 2;
  while (position + 4 <= body.length) {
    const length = body.readInt32BE(position);
    position += 4;
    values.push(length < 0 ? null : body.toString("utf8", position, position + length));
    position += Math.max(0, length);
  }
  return values;
}

/** Splits the body of an ErrorResponse (letter and zero-ended text, again and again) into its fields. */
export function readErrorFields(body: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  let position = 0;
  while (position < body.length && body[position] !== 0) {
    const end = body.indexOf(0, position);
    if (end < 0) break;
    fields.set(String.fromCharCode(body[position] ?? 0), body.toString("utf8", position + 1, end));
    position = end + 1;
  }
  return fields;
}

/** A session, from the end of its login. */
export class Backend {
  /** Why its connection is gone; null while it stands. */
  loss: Error | null = null;
  readonly #listeners = new Set<(error: Error) => void>();

  /**
   * @param cancel asks the server to cancel what the session does; resolves when the server has passed the request on
   * @param divert has the data of a COPY given to a sink, or to postgres.js again
   */
  constructor(
    readonly key: BackendKey,
    readonly socket: Socket,
    readonly cancel: () => Promise<void>,
    private readonly divert: (sink: CopyDataSink | null) => void,
  ) {
    backends.set(nameOf(key), this);
  }

  /** Has the data of the COPY that is begun next given to a sink, until disposed of. postgres.js sees a COPY without data. */
  divertCopy(sink: CopyDataSink): Disposable {
    this.divert(sink);
    return { [Symbol.dispose]: () => this.divert(null) };
  }

  /** Calls the listener when the connection is lost. Returns what takes the listener off again. */
  onLoss(listener: (error: Error) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The connection is gone. */
  lose(error: Error): void {
    this.loss = error;
    if (backends.get(nameOf(this.key)) === this) backends.delete(nameOf(this.key));
    for (const listener of this.#listeners) listener(error);
    this.#listeners.clear();
  }
}

/** The sessions of this process that are connected now. */
const backends = new Map<string, Backend>();

function nameOf(key: BackendKey): string {
  return `${key.pid}/${key.secret}`;
}

/**
 * The session on which postgres.js runs a query that it has begun to execute, or undefined when there is none (any more). postgres.js notes
 * the session's key in the query's `state`.
 */
export function backendOfQuery(query: object): Backend | undefined {
  const state: unknown = Reflect.get(query, "state");
  return isBackendKey(state) ? backends.get(nameOf(state)) : undefined;
}

/** Ends the connection on which a query has run; resolves when it is known to be gone. Does nothing where it is gone already. */
export async function endConnectionOf(query: object): Promise<void> {
  const backend = backendOfQuery(query);
  if (backend === undefined) return;
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  backend.onLoss(() => resolve());
  backend.socket.destroy();
  await gone;
}

function isBackendKey(value: unknown): value is BackendKey {
  return typeof value === "object" && value !== null && "pid" in value && typeof value.pid === "number" &&
    "secret" in value && typeof value.secret === "number";
}
