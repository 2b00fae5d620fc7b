/** A COPY over PostgreSQL's own protocol, with nothing around it. */
import { connect, type Socket } from "node:net";

const PROTOCOL_3_0 = 196_608;
/** Signature, flags and extension length of COPY's binary format; they come with the first row. */
const COPY_HEADER_BYTES = 19;
/** Type byte and length of a message. */
const MESSAGE_HEADER_BYTES = 5;
/** Count of fields and length of the only field. */
const ROW_HEADER_BYTES = 6;

export interface CopyOptions {
  /** `COPY (…) TO STDOUT (FORMAT binary)` of one column that is never null. */
  readonly statement: string;
  /** Takes the bytes from `start` up to `end` of what came; they are not kept. */
  readonly onValue: (bytes: Buffer, start: number, end: number) => void;
  /** Asked now and then: until the promise resolves, nothing more is read. */
  readonly pressure: () => Promise<void> | null;
}

/** What is waited for: the session's beginning, or the end of a COPY. */
interface Waiting {
  readonly copy: CopyOptions | null;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** A session that does nothing but COPY, one after the other. */
export class CopySession {
  readonly #socket: Socket;
  #waiting: Waiting | null = null;
  #rest: Buffer = Buffer.alloc(0);
  #toSkip = 0;

  private constructor(url: URL) {
    this.#socket = connect({ host: url.hostname, port: Number(url.port) });
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (chunk: Buffer) => this.#read(chunk));
    this.#socket.once("error", (error) => this.#fail(error));
    this.#socket.once("close", () => this.#fail(new Error("PostgreSQL closed the connection")));
  }

  /**
   * Connects to a server that asks for no password.
   *
   * @throws Error where the server reports one or goes away; so does {@link CopySession.copy}
   */
  static async open(url: URL, settings: Readonly<Record<string, string>>): Promise<CopySession> {
    const session = new CopySession(url);
    session.#socket.write(startup({ user: url.username, database: url.pathname.slice(1), ...settings }));
    await session.#wait(null);
    return session;
  }

  /** Runs a COPY to its end. */
  async copy(options: CopyOptions): Promise<void> {
    this.#toSkip = COPY_HEADER_BYTES;
    this.#socket.write(query(options.statement));
    await this.#wait(options);
  }

  close(): void {
    this.#socket.destroy();
  }

  #wait(copy: CopyOptions | null): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting = { copy, resolve, reject });
  }

  #fail(error: unknown): void {
    this.#waiting?.reject(error);
    this.#waiting = null;
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + MESSAGE_HEADER_BYTES <= bytes.length) {
      const end = at + 1 + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      this.#take(bytes, at, end);
      at = end;
    }
    this.#rest = bytes.subarray(at);
    const pending = this.#waiting?.copy?.pressure() ?? null;
    if (pending === null) return;
    this.#socket.pause();
    pending.then(() => this.#socket.resume(), (error: unknown) => this.#fail(error));
  }

  #take(bytes: Buffer, at: number, end: number): void {
    switch (bytes[at]) {
      case 0x45: // E: error
        this.#fail(new Error(bytes.toString("utf8", at + MESSAGE_HEADER_BYTES, end).replaceAll("\0", " ")));
        break;
      case 0x5a: // Z: ready for a statement
        this.#waiting?.resolve();
        this.#waiting = null;
        break;
      case 0x64: { // d: a row; the last one holds nothing but the end mark
        const start = at + MESSAGE_HEADER_BYTES + this.#toSkip + ROW_HEADER_BYTES;
        this.#toSkip = 0;
        if (start < end) this.#waiting?.copy?.onValue(bytes, start, end);
      }
    }
  }
}

function startup(parameters: Readonly<Record<string, string>>): Buffer {
  const fields = Buffer.from(Object.entries(parameters).flat().map((text) => `${text}\0`).join("") + "\0");
  const head = Buffer.alloc(8);
  head.writeUInt32BE(head.length + fields.length, 0);
  head.writeUInt32BE(PROTOCOL_3_0, 4);
  return Buffer.concat([head, fields]);
}

function query(statement: string): Buffer {
  const text = Buffer.from(`${statement}\0`);
  const head = Buffer.alloc(MESSAGE_HEADER_BYTES);
  head.write("Q", "latin1");
  head.writeUInt32BE(4 + text.length, 1);
  return Buffer.concat([head, text]);
}
