/** A COPY over PostgreSQL's own protocol, with nothing around it. */
import { connect } from "node:net";

const PROTOCOL_3_0 = 196_608;
/** Signature, flags and extension length of COPY's binary format; they come with the first row. */
const COPY_HEADER_BYTES = 19;
/** Type byte and length of a message. */
const MESSAGE_HEADER_BYTES = 5;
/** Count of fields and length of the only field. */
const ROW_HEADER_BYTES = 6;

export interface CopyOptions {
  /** Of a server that asks for no password. */
  readonly url: URL;
  readonly settings: Readonly<Record<string, string>>;
  /** `COPY (…) TO STDOUT (FORMAT binary)` of one column that is never null. */
  readonly statement: string;
  /** Takes the bytes from `start` up to `end` of what came; they are not kept. */
  readonly onValue: (bytes: Buffer, start: number, end: number) => void;
  /** Asked now and then: until the promise resolves, nothing more is read. */
  readonly pressure: () => Promise<void> | null;
}

/** Runs a COPY to its end. @throws Error where the server reports one or goes away */
export function copy({ url, settings, statement, onValue, pressure }: CopyOptions): Promise<void> {
  const socket = connect({ host: url.hostname, port: Number(url.port) });
  socket.setNoDelay(true);
  socket.write(startup({ user: url.username, database: url.pathname.slice(1), ...settings }));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let asked = false;
  let toSkip = COPY_HEADER_BYTES;
  let rest: Buffer = Buffer.alloc(0);

  const take = (bytes: Buffer, at: number, end: number) => {
    switch (bytes[at]) {
      case 0x45: // E: error
        reject(new Error(bytes.toString("utf8", at + MESSAGE_HEADER_BYTES, end).replaceAll("\0", " ")));
        break;
      case 0x5a: // Z: ready for a statement
        if (asked) resolve();
        else socket.write(query(statement));
        asked = true;
        break;
      case 0x64: { // d: a row; the last one holds nothing but the end mark
        const start = at + MESSAGE_HEADER_BYTES + toSkip + ROW_HEADER_BYTES;
        toSkip = 0;
        if (start < end) onValue(bytes, start, end);
      }
    }
  };
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (at + MESSAGE_HEADER_BYTES <= bytes.length) {
      const end = at + 1 + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      take(bytes, at, end);
      at = end;
    }
    rest = bytes.subarray(at);
    const pending = pressure();
    if (pending === null) return;
    socket.pause();
    pending.then(() => socket.resume(), reject);
  });
  socket.once("error", reject);
  socket.once("close", () => reject(new Error("PostgreSQL closed the connection")));
  return promise.finally(() => socket.destroy());
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
