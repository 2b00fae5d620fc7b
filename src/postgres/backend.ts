import type { Socket } from "node:net";

/**
 * What passes by on a connection. postgres.js forgets two things that we need: the FATAL message with which a server takes
 * its leave (it reports only CONNECTION_CLOSED), and which socket belongs to which backend. So each socket carries a
 * listener of ours that walks over the frames of the server's messages and reads these two, and nothing else
 * (https://www.postgresql.org/docs/current/protocol-message-formats.html).
 */

/** How PostgreSQL names a session when another connection asks to cancel its statement. */
export interface BackendKey {
  readonly pid: number;
  readonly secret: number;
}

/** The fields of an ErrorResponse, by the letters of the protocol. */
export interface ServerFatal {
  readonly code: string;
  readonly message: string;
}

const ERROR_RESPONSE = 0x45; // E
const BACKEND_KEY_DATA = 0x4b; // K
const READY_FOR_QUERY = 0x5a; // Z
const HEADER_BYTES = 5;
/** An ErrorResponse longer than this is not kept. */
const LONGEST_KEPT = 65_536;

/** Walks over the server's messages, split anywhere, without copying those that do not matter. */
export class BackendTap {
  /** The session's key, known before its first statement. */
  key: BackendKey | null = null;
  /** The FATAL or PANIC error that the server sent last. */
  fatal: ServerFatal | null = null;
  /** True once anything was received. */
  heard = false;
  /** True once the login is complete (the first ReadyForQuery). */
  ready = false;

  #header = Buffer.alloc(HEADER_BYTES);
  #headerLength = 0;
  #bodyLeft = 0;
  #kept: Buffer[] | null = null;

  /** @param chunk bytes as they came from the socket; only read, and not kept but for the two kinds of messages */
  push(chunk: Buffer): void {
    this.heard = true;
    let position = 0;
    while (position < chunk.length) {
      if (this.#bodyLeft > 0) {
        const taken = Math.min(this.#bodyLeft, chunk.length - position);
        if (this.#kept !== null) this.#kept.push(Buffer.from(chunk.subarray(position, position + taken)));
        position += taken;
        this.#bodyLeft -= taken;
        if (this.#bodyLeft === 0) this.#messageEnds();
      } else if (this.#headerLength === 0 && position + HEADER_BYTES <= chunk.length) {
        this.#messageBegins(chunk, position);
        position += HEADER_BYTES;
      } else {
        this.#header[this.#headerLength++] = chunk[position++] ?? 0;
        if (this.#headerLength === HEADER_BYTES) {
          this.#headerLength = 0;
          this.#messageBegins(this.#header, 0);
        }
      }
    }
  }

  #messageBegins(bytes: Buffer, position: number): void {
    const type = bytes[position];
    // The length counts itself. One below 4 cannot be; postgres.js stops on it, so here it only must not loop.
    this.#bodyLeft = Math.max(0, bytes.readUInt32BE(position + 1) - 4);
    if (type === READY_FOR_QUERY) this.ready = true;
    const matters = (type === ERROR_RESPONSE || type === BACKEND_KEY_DATA) && this.#bodyLeft <= LONGEST_KEPT;
    this.#kept = matters ? [Buffer.of(type)] : null;
  }

  #messageEnds(): void {
    const kept = this.#kept;
    this.#kept = null;
    if (kept === null) return;
    const message = Buffer.concat(kept);
    if (message[0] === ERROR_RESPONSE) {
      const fields = readErrorFields(message);
      const severity = fields.get("V");
      if (severity === "FATAL" || severity === "PANIC") {
        this.fatal = { code: fields.get("C") ?? "", message: fields.get("M") ?? "" };
      }
    } else if (message.length >= 9) {
      this.key = { pid: message.readUInt32BE(1), secret: message.readUInt32BE(5) };
    }
  }
}

/** Splits an ErrorResponse (type byte, then letter and zero-ended text, again and again) into its fields. */
export function readErrorFields(message: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  let position = 1;
  while (position < message.length && message[position] !== 0) {
    const end = message.indexOf(0, position);
    if (end < 0) break;
    fields.set(String.fromCharCode(message[position] ?? 0), message.toString("utf8", position + 1, end));
    position = end + 1;
  }
  return fields;
}

/** A session that is connected now. */
export interface Backend {
  readonly socket: Socket;
  /** Asks the server to cancel what the session does; resolves when the server has passed the request on. */
  readonly cancel: () => Promise<void>;
}

const backends = new Map<string, Backend>();

function nameOf(key: BackendKey): string {
  return `${key.pid}/${key.secret}`;
}

/** Makes a session known until its socket closes. */
export function registerBackend(key: BackendKey, backend: Backend): void {
  const name = nameOf(key);
  backends.set(name, backend);
  backend.socket.once("close", () => {
    if (backends.get(name) === backend) backends.delete(name);
  });
}

/**
 * The session on which postgres.js runs a query that it has begun to execute, or undefined when there is none (any more). postgres.js notes
 * the session's key in the query's `state`.
 */
export function backendOfQuery(query: object): Backend | undefined {
  const state: unknown = Reflect.get(query, "state");
  return isBackendKey(state) ? backends.get(nameOf(state)) : undefined;
}

function isBackendKey(value: unknown): value is BackendKey {
  return typeof value === "object" && value !== null && "pid" in value && typeof value.pid === "number" &&
    "secret" in value && typeof value.secret === "number";
}
