import { Readable } from "node:stream";
import { PgsyncError } from "../errors/error.ts";

/** A COPY that the server has begun, as postgres.js shows it. */
export interface CopyStream {
  /** A `Duplex`, where the COPY goes both ways. */
  readonly stream: Readable;
  /** Resolves with the stream's end, rejects with its error. Nobody need listen to it. */
  readonly over: Promise<void>;
}

/**
 * The stream of a statement that begins a COPY. It is listened to from the moment when postgres.js makes it: the server's error may come in that very turn,
 * before anybody hears of the query's promise, and on Bun an "error" that nobody listens to would end the process.
 *
 * @param query that was begun (`execute`)
 * @throws postgres.js' error where the COPY does not begin; PgsyncError INTERNAL where the statement is none
 */
export function copyStream(query: PromiseLike<unknown>): Promise<CopyStream> {
  const { promise, resolve, reject } = Promise.withResolvers<CopyStream>();
  const resolveQuery: unknown = Reflect.get(query, "resolve");
  if (typeof resolveQuery !== "function") throw new PgsyncError("INTERNAL", "A query cannot be resolved.");
  // postgres.js calls it in the turn in which it makes the stream.
  Reflect.set(query, "resolve", (value: unknown) => {
    if (value instanceof Readable) {
      const over = new Promise<void>((end, fail) => void value.once("end", end).once("error", fail));
      over.catch(() => {});
      resolve({ stream: value, over });
    }
    resolveQuery(value);
  });
  const noCopy = () => reject(new PgsyncError("INTERNAL", "A statement was no COPY."));
  query.then(noCopy, reject);
  return promise;
}
