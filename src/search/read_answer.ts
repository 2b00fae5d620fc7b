import type { Readable } from "node:stream";

/** An answer has more bytes than there is room for. What was left of it was not read. */
export class AnswerTooLargeError extends Error {
  /** @param most bytes that had room */
  constructor(most: number) {
    super(`the answer has more than ${most} bytes`);
    this.name = "AnswerTooLargeError";
  }
}

/**
 * Reads the body of an answer to its end. Where there is a limit and the server tells the length, its bytes are in memory once; else, in
 * the end, twice.
 *
 * @param headers of the answer
 * @param most bytes that may come
 * @throws AnswerTooLargeError as soon as it is seen that more come; Error where the answer ends early or the signal is aborted
 */
export async function readAnswer(
  stream: Readable,
  headers: Readonly<Record<string, unknown>>,
  most: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const abort = () => stream.destroy(new Error("aborted while the answer was read"));
  if (signal.aborted) abort();
  const told = lengthOf(headers);
  if (told > most) {
    stream.destroy();
    throw new AnswerTooLargeError(most);
  }
  signal.addEventListener("abort", abort, { once: true });
  // Memory is taken beforehand only where somebody has room for it: a server may tell any length.
  const whole = most < Infinity && told > 0 ? Buffer.allocUnsafeSlow(told) : null;
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of stream) {
      const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
      // To leave the loop destroys the stream, and with it the connection.
      if (length + bytes.length > (whole?.length ?? most)) throw new AnswerTooLargeError(most);
      if (whole === null) chunks.push(bytes);
      else whole.set(bytes, length);
      length += bytes.length;
    }
  } catch (cause) {
    if (cause instanceof AnswerTooLargeError) throw cause;
    // Of a connection that was cut the runtimes say no more than "aborted".
    throw new Error("the connection was lost in the middle of the answer", { cause });
  } finally {
    signal.removeEventListener("abort", abort);
  }
  // Some runtimes end the stream without an error when it is destroyed.
  if (signal.aborted) throw new Error("aborted while the answer was read");
  return whole?.subarray(0, length) ?? Buffer.concat(chunks);
}

/** How many bytes the server has told; 0 where it has not. */
function lengthOf(headers: Readonly<Record<string, unknown>>): number {
  const length = headers["content-length"];
  return typeof length === "string" && /^\d{1,15}$/.test(length) ? Number(length) : 0;
}
