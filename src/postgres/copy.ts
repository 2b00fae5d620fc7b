import type { Readable } from "node:stream";
import { getLogger } from "@logtape/logtape";
import { backendOfQuery } from "./backend.ts";
import { oneSession, type Session } from "./session.ts";

const logger = getLogger(["pgsync", "postgres"]);

/**
 * Runs `COPY … TO STDOUT` and hands over its data as they arrive, in bounded memory: while a promise of `onChunk` is open, the socket
 * is paused and the server waits. A chunk is what one CopyData message held: in practice a row (the binary
 * format's header comes with the first). The bytes of a chunk may be kept; they are never written to again.
 *
 * When it returns or throws, no call of `onChunk` is unfinished, and none comes any more. The connection is usable afterwards, also after an error or an abort. In a pool it is reserved meanwhile; inside `sql.begin` and on
 * a reserved connection the COPY runs on that one.
 *
 * @param statement the whole COPY statement
 * @param onChunk called for each chunk in order, never while an earlier call is unfinished; what it throws cancels the statement and is thrown
 * @param signal an abort cancels the statement on the server
 * @throws the signal's reason on an abort; what `onChunk` threw; else postgres.js' error, for `postgresError`
 */
export async function copyOut(
  sql: Session,
  statement: string,
  onChunk: (chunk: Buffer) => void | Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  using session = await oneSession(sql);
  await copyOnSession(session.sql, statement, onChunk, signal);
}

async function copyOnSession(
  sql: Session,
  statement: string,
  onChunk: (chunk: Buffer) => void | Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted();
  const query = sql.unsafe(statement).execute();
  const consumer = new ChunkConsumer(onChunk, () => backendOfQuery(query)?.cancel());
  const onAbort = () => consumer.stop(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await consumer.consume(query.readable());
  } finally {
    signal?.removeEventListener("abort", onAbort);
    // postgres.js pauses the socket when the reader is slow, and nobody resumes it once the COPY is over: the next
    // statement would wait for an answer that nobody reads.
    backendOfQuery(query)?.socket.resume();
  }
}

/** Hands the chunks of one COPY over, one after the other; once stopped, it reads the rest and throws it away. */
class ChunkConsumer {
  #readable: Readable | null = null;
  #stopped: { readonly reason: unknown } | null = null;
  /** The call that is unfinished, or the last one; it never rejects. */
  #working: Promise<void> | undefined;
  #cancelling: Promise<void> | undefined;

  constructor(
    private readonly onChunk: (chunk: Buffer) => void | Promise<void>,
    private readonly cancel: () => Promise<void> | undefined,
  ) {}

  /** Ends the COPY early; `consume` then throws the reason. */
  stop(reason: unknown): void {
    if (this.#stopped !== null) return;
    this.#stopped = { reason };
    this.#abandon();
  }

  /** @param starting resolves with the first data: a statement that computes for long does not even begin the COPY before */
  async consume(starting: Promise<Readable>): Promise<void> {
    try {
      const readable = await starting;
      this.#readable = readable;
      await new Promise<void>((resolve, reject) => {
        readable.on("data", (chunk: Buffer) => this.#take(readable, chunk));
        readable.once("end", resolve);
        readable.once("error", reject);
        if (this.#stopped !== null) this.#abandon();
      });
    } catch (error) {
      if (this.#stopped === null) throw error;
    } finally {
      // Where the connection has died, or the COPY was stopped, a call may go on still. The caller clears up when all is over.
      await this.#working;
    }
    // A late request to cancel must not hit the next statement of this connection.
    await this.#cancelling;
    if (this.#stopped !== null) throw this.#stopped.reason;
  }

  #take(readable: Readable, chunk: Buffer): void {
    if (this.#stopped !== null) return;
    try {
      const pending = this.onChunk(chunk);
      if (pending === undefined) return;
      readable.pause();
      this.#working = pending.then(() => void readable.resume(), (error) => this.stop(error));
    } catch (error) {
      this.stop(error);
    }
  }

  #abandon(): void {
    this.#readable?.resume();
    // Where the request fails, the rest is read to its end instead: the connection stays usable either way.
    this.#cancelling ??= this.cancel()?.catch((error) => {
      logger.debug("a statement could not be cancelled: {error}", { error });
    });
  }
}
