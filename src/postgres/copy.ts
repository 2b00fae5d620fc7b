import type { Backend } from "./backend.ts";
import { cancelStatement } from "./cancel.ts";
import { copyStream } from "./copy_stream.ts";
import { oneSession, type Session } from "./session.ts";

/**
 * Takes what one CopyData message held, the bytes from `start` up to `end`: in practice a row (the binary format's header comes with the
 * first). They may be kept; they are never written to again.
 */
export type OnCopyData = (bytes: Buffer, start: number, end: number) => void | Promise<void>;

/**
 * Runs `COPY … TO STDOUT` and hands over its data as they arrive, in bounded memory: while a promise of `onData` is open, the socket
 * is paused and the server waits. The bytes are those that the socket gave: nothing is made of a message on its way.
 *
 * When it returns or throws, no call of `onData` is unfinished, and none comes any more. The connection is usable afterwards, also after an error or an abort. In a pool it is reserved meanwhile; inside `sql.begin` and on
 * a reserved connection the COPY runs on that one.
 *
 * @param statement the whole COPY statement
 * @param onData called for each message in order, never while an earlier call is unfinished; what it throws cancels the statement and is thrown
 * @param signal an abort cancels the statement on the server
 * @throws the signal's reason on an abort; what `onData` threw; else postgres.js' error, for `postgresError`
 */
export async function copyOut(
  sql: Session,
  statement: string,
  onData: OnCopyData,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  using session = await oneSession(sql);
  signal?.throwIfAborted();
  const consumer = new CopyConsumer(onData, session.backend);
  using _ = session.backend.divertCopy((bytes, start, end) => consumer.take(bytes, start, end));
  const query = session.sql.unsafe(statement).execute();
  const onAbort = () => consumer.stop(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await consumer.consume(query);
  } finally {
    signal?.removeEventListener("abort", onAbort);
    // Nobody else resumes it: the next statement would wait for an answer that nobody reads.
    session.backend.socket.resume();
  }
}

/** A message that waits. */
interface CopyData {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Hands the messages of one COPY over, one after the other; once stopped, it reads the rest and throws it away. */
class CopyConsumer {
  #stopped: { readonly reason: unknown } | null = null;
  /** The call that is unfinished; it never rejects. */
  #working: Promise<void> | null = null;
  /** Messages that arrived together with the one that is worked on. */
  #waiting: CopyData[] = [];
  #cancelling: Promise<void> | undefined;
  /** The statement, once it is asked for. */
  #query: PromiseLike<unknown> | null = null;
  /** Nothing can be stopped any more. */
  #isOver = false;

  constructor(private readonly onData: OnCopyData, private readonly backend: Backend) {}

  take(bytes: Buffer, start: number, end: number): void {
    if (this.#stopped !== null) return;
    if (this.#working === null) return this.#give(bytes, start, end);
    this.#waiting.push({ bytes, start, end });
    // postgres.js resumes it once, when it begins to read the stream that has no data.
    this.backend.socket.pause();
  }

  /** Ends the COPY early; `consume` then throws the reason. */
  stop(reason: unknown): void {
    if (this.#stopped !== null || this.#isOver) return;
    this.#stopped = { reason };
    this.#waiting = [];
    this.#abandon();
  }

  async consume(query: PromiseLike<unknown>): Promise<void> {
    this.#query = query;
    try {
      // A statement that computes for long does not even begin the COPY before.
      const { stream, over } = await copyStream(query);
      // To its end; the data do not come by it.
      stream.resume();
      if (this.#stopped !== null) this.#abandon();
      await over;
    } catch (error) {
      this.#stopped ??= { reason: error };
      this.#waiting = [];
    }
    // Where the connection has died, or the COPY was stopped, a call may go on still. The caller clears up when all is over.
    while (this.#working !== null) await this.#working;
    // A late request to cancel must not hit the next statement of this connection.
    this.#isOver = true;
    await this.#cancelling;
    if (this.#stopped !== null) throw this.#stopped.reason;
  }

  #give(bytes: Buffer, start: number, end: number): void {
    try {
      const pending = this.onData(bytes, start, end);
      if (pending === undefined) return;
      this.backend.socket.pause();
      this.#working = pending.then(() => this.#goOn(), (error) => {
        this.#working = null;
        this.stop(error);
      });
    } catch (error) {
      this.stop(error);
    }
  }

  #goOn(): void {
    this.#working = null;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const [at, { bytes, start, end }] of waiting.entries()) {
      this.#give(bytes, start, end);
      if (this.#stopped !== null) return;
      if (this.#working !== null) {
        this.#waiting = waiting.slice(at + 1);
        return;
      }
    }
    if (this.#stopped === null) this.backend.socket.resume();
  }

  #abandon(): void {
    this.backend.socket.resume();
    // Where the request fails, the rest is read to its end instead: the connection stays usable either way.
    if (this.#query !== null) this.#cancelling ??= cancelStatement(this.#query);
  }
}
