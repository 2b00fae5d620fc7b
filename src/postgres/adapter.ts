import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { Backend, BackendTap, type CopyDataSink, type LoginQuestion } from "./backend.ts";
import type { LoginGate } from "./login_gate.ts";
import { type Admission, IDENTITY_SQL, readIdentity } from "./server_identity.ts";
import type { SocketOpener } from "./socket.ts";

const CANCEL_REQUEST_CODE = 80_877_102;

/**
 * The socket as postgres.js sees it. It stands between, because postgres.js 3.4 is not safe against the loss of a connection:
 *
 * - A statement sent between the socket's events "error" and "close" is never settled. Here they come as one.
 * - When a connection closes during the login without an error, postgres.js connects again at once, for ever. Here a close always has an error.
 * - A FATAL message is remembered and becomes the error of the first statement on the next connection. Here it becomes the
 *   error of this one.
 * - A `socket` function that rejects uses up a place of the pool for ever. Here it resolves, with a socket that fails.
 * - Without `fetch_types`, a `reserve` for which a connection is opened is forgotten. Here it is reminded.
 *
 * The fifth, statements on a reserved connection that is lost, needs more: see session.ts.
 */
export class PostgresJsSocket extends EventEmitter {
  readonly #socket: Socket | null;
  readonly #tap: BackendTap;
  #failure: Error | null = null;
  /** It only carries a request to cancel, which the server answers by closing. */
  #cancels = false;
  #backend: Backend | null = null;
  #closed = false;

  /**
   * @param opened the open socket, or why there is none
   * @param gate told how the login ended
   * @param admit judges the server, before postgres.js may use the connection
   */
  constructor(
    opened: Socket | Error,
    opener: SocketOpener,
    private readonly gate: LoginGate | null = null,
    admit: Admission | null = null,
  ) {
    super();
    const question = admit === null ? null : this.#question(admit);
    this.#tap = new BackendTap((bytes) => void this.emit("data", bytes), question);
    if (opened instanceof Error) {
      this.#socket = null;
      this.#failure = opened;
      this.#close();
      return;
    }
    this.#socket = opened;
    opened.on("data", (chunk: Buffer) => {
      this.#tap.push(chunk);
      if (this.#tap.overlong) {
        this.#failure ??= opener.notPostgres();
        opened.destroy();
      }
      if (this.#backend === null && this.#tap.ready) this.#loggedIn(opened, opener);
    });
    opened.on("drain", () => this.emit("drain"));
    opened.on("error", (error) => this.#failure ??= error);
    opened.on("close", () => this.#close());
  }

  /** As net.Socket's, for postgres.js: "open" lets it say goodbye. */
  get readyState(): string {
    return this.#closed || this.#socket === null ? "closed" : this.#socket.readyState;
  }

  write(bytes: Buffer, callback?: (error?: Error | null) => void): boolean {
    this.#cancels ||= bytes.length === 16 && bytes.readUInt32BE(4) === CANCEL_REQUEST_CODE;
    if (this.#socket === null || this.#socket.destroyed) {
      // The close is on its way.
      callback?.(this.#failure);
      return true;
    }
    return this.#socket.write(bytes, callback);
  }

  end(bytes: Buffer): void {
    this.#socket?.end(bytes);
  }

  destroy(error?: Error): void {
    this.#socket?.destroy(error);
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  setKeepAlive(on: boolean, delayMs: number): void {
    this.#socket?.setKeepAlive(on, delayMs);
  }

  #question(admit: Admission): LoginQuestion {
    return {
      ask: () => void this.#socket?.write(simpleQuery(IDENTITY_SQL)),
      onAnswer: (row) => {
        const refusal = row instanceof Error ? row : judged(row, admit);
        if (refusal !== null) {
          this.#failure ??= refusal;
          this.#socket?.destroy();
        }
        return refusal === null;
      },
    };
  }

  #loggedIn(socket: Socket, opener: SocketOpener): void {
    this.gate?.passed();
    const { key } = this.#tap;
    // Only a pooler in between could fail to give one.
    if (key === null) return;
    const divert = (sink: CopyDataSink | null) => void (this.#tap.copyData = sink);
    this.#backend = new Backend(key, socket, () => opener.cancel(key), divert);
    // "drain" makes postgres.js look again for what it could do with an idle connection; with a busy one it does nothing.
    queueMicrotask(() => this.emit("drain"));
  }

  /** In a turn of its own, after what postgres.js has put off to write. */
  #close(): void {
    setImmediate(() => {
      this.#closed = true;
      if (!this.#tap.ready && this.#tap.fatal !== null) this.gate?.refused(this.#tap.fatal);
      const reason = this.#tap.fatal ?? this.#failure ?? closedError();
      this.#backend?.lose(reason);
      if (!this.#cancels) this.emit("error", reason);
      this.emit("close", false);
    });
  }
}

function judged(row: readonly (string | null)[], admit: Admission): Error | null {
  try {
    return admit(readIdentity(row));
  } catch (thrown) {
    return thrown instanceof Error ? thrown : new Error(String(thrown));
  }
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html: Query. */
function simpleQuery(sql: string): Buffer {
  const body = Buffer.from(`${sql}\0`);
  const header = Buffer.alloc(5);
  header.write("Q", "latin1");
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

/** The error of a connection that was closed without a word. */
export function closedError(): Error {
  return Object.assign(new Error("the connection was closed"), { code: "CONNECTION_CLOSED" });
}
