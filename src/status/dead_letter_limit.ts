import { PgsyncError } from "../errors/error.ts";

/**
 * A few documents that are refused are a few documents; thousands have one cause, which an operator must mend.
 *
 * @param count dead letters of the database
 * @param max more are too many; 0: no number is
 * @returns null where there are not too many
 */
export function tooManyDeadLetters(database: string, count: number, max: number): PgsyncError | null {
  if (max === 0 || count <= max) return null;
  return new PgsyncError(
    "DEAD_LETTER_LIMIT",
    `${count} documents of database "${database}" are refused, more than the ${max} of --max-dead-letters: ` +
      "they have a common cause.",
  );
}
