/** Reads files of which nobody expects more than some lines: variables, tokens, passwords. */
import { Buffer } from "node:buffer";
import { closeSync, openSync, readSync } from "node:fs";

/** No file of variables, and no secret, is larger. */
export const MOST_SMALL_FILE_BYTES = 1024 * 1024;

/** A file that is larger than it may be. */
export class TooLarge extends Error {
  override readonly name = "TooLarge";
}

/**
 * Reads a file of UTF-8 text, and no more of it than it may hold: the path may also lead to a device without end. (What `stat` tells of
 * a size would not hold for it, nor for a pipe.)
 *
 * @param flags as for `open`
 * @throws TooLarge; the system's error where it cannot be read
 */
export function readSmallFile(path: string, flags: string | number = "r"): string {
  const buffer = Buffer.alloc(MOST_SMALL_FILE_BYTES + 1);
  const file = openSync(path, flags);
  try {
    let length = 0;
    while (length < buffer.length) {
      const read = readSync(file, buffer, length, buffer.length - length, null);
      if (read === 0) return buffer.toString("utf8", 0, length);
      length += read;
    }
  } finally {
    closeSync(file);
  }
  throw new TooLarge(`larger than ${MOST_SMALL_FILE_BYTES} bytes`);
}
