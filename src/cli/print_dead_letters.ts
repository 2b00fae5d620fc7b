import type { DeadLetter } from "../checkpoint/types.ts";
import { formatLsn } from "../replication/lsn.ts";
import { formatCount } from "../status/figures.ts";
import { shortened } from "../status/foreign_text.ts";
import { inOneLine } from "./format.ts";

/** What became of all that were tried again. */
export interface Retried {
  found: number;
  taken: number;
  refused: number;
  pending: number;
}

/** An id may be as long as a key, and is shown in part. */
const LONGEST_ID = 120;

/**
 * Dead letters for people, index by index.
 *
 * @param total of their indices, in all
 * @param limited those that are not shown were left out for their number
 */
export function describeDeadLetters(letters: readonly DeadLetter[], total: number, limited: boolean): string {
  const lines: string[] = [];
  for (const [index, own] of Map.groupBy(letters, (letter) => letter.index)) {
    lines.push(`${index}:`, ...own.flatMap(describeLetter).map((line) => `  ${line}`));
  }
  const left = total - letters.length;
  if (letters.length === 0) lines.push(total === 0 ? "no dead letters" : "none of these is a dead letter");
  else if (limited && left > 0) lines.push(`and ${formatCount(left)} more (--limit, --all)`);
  else lines.push(counted(letters.length, "dead letter"));
  return lines.join("\n");
}

function describeLetter(letter: DeadLetter): string[] {
  const { id, operation, status, type, reason, position, firstAt, lastAt, tries } = letter;
  const first = firstAt.toISOString();
  const times = tries === 1
    ? `once, ${first}`
    : `${formatCount(tries)} times, ${first} to ${lastAt.toISOString()}`;
  const at = position === null ? "" : `, at ${formatLsn(position)}`;
  return [
    `${shownId(id)}${operation === "delete" ? " (its deletion)" : ""}: refused ${times}${at}`,
    `  ${type}${status === 0 ? "" : ` (HTTP ${status})`}: ${inOneLine(reason)}`,
  ];
}

/** As JSON, so that an empty one shows, and one with control characters does the terminal no harm. */
function shownId(id: string): string {
  return inOneLine(JSON.stringify(shortened(id, LONGEST_ID)));
}

/** What was tried again, for people. @param stuck what comes after these was not tried, for nothing is answered */
export function describeRetried({ found, taken, refused, pending }: Retried, stuck: boolean): string {
  if (found === 0) return "no such dead letters";
  const counts = [`${formatCount(taken)} taken`, `${formatCount(refused)} refused again`];
  if (pending > 0) counts.push(`${formatCount(pending)} still under way`);
  const lines = [`${counted(found, "dead letter")} tried again: ${counts.join(", ")}`];
  if (refused > 0) lines.push("  `pgsync dead-letters list` tells the reasons.");
  if (pending > 0) {
    lines.push(
      stuck
        ? "  PostgreSQL or the search engine has to be waited for (`pgsync status`); what comes after these was not tried."
        : "  The run is busy with them; `pgsync dead-letters list` shows those that are refused again.",
    );
  }
  return lines.join("\n");
}

function counted(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}
