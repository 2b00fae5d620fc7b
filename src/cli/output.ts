/** Standard output with backpressure, and without a fuss when the reader goes away (`pgsync preview | head`). */
import process from "node:process";

/** Where a command writes what it was asked for. */
export interface Output {
  /** Resolves when more may be written. */
  write(text: string): Promise<void>;
  /** Aborted when the reader has gone. */
  readonly closed: AbortSignal;
  /** Resolves when all is handed to the system. */
  flush(): Promise<void>;
}

/** The process's standard output. Call it once. */
export function standardOutput(): Output {
  const gone = new AbortController();
  process.stdout.on("error", (error) => {
    // EPIPE: the reader has what it wanted. Anything else (a full disk) cannot be told on stdout either.
    gone.abort(error);
  });
  return {
    closed: gone.signal,
    write(text) {
      if (gone.signal.aborted || process.stdout.write(text)) return Promise.resolve();
      return new Promise((resolve) => {
        const done = () => {
          process.stdout.off("drain", done);
          gone.signal.removeEventListener("abort", done);
          resolve();
        };
        process.stdout.on("drain", done);
        gone.signal.addEventListener("abort", done);
      });
    },
    flush() {
      if (gone.signal.aborted) return Promise.resolve();
      return new Promise((resolve) => process.stdout.write("", () => resolve()));
    },
  };
}
