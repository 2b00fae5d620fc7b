/**
 * `deno task docs:errors`: writes docs/errors.md, the table of all errors, from src/errors/codes.ts. tests/errors holds the file
 * to what this makes.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ErrorDefinition, ERRORS, EXIT, type NextStep } from "../src/errors/codes.ts";
import { PROJECT } from "./project.ts";

/** Where the table stands. */
export const ERRORS_FILE: string = join(PROJECT, "docs", "errors.md");

/** What follows an error, in the words of the table. */
const NEXT: Readonly<Record<NextStep, { readonly short: string; readonly meaning: string }>> = {
  retry: {
    short: "tried again",
    meaning:
      "It may pass by itself. A run that follows its databases tries again for as long as it takes, with growing waits; the log and `/ready` say so, " +
      "`/health` stays green, and PostgreSQL keeps the changes. At a start, before anything is followed, and in the other commands it ends the command: " +
      "whoever supervises the process may start it again.",
  },
  halt: {
    short: "ends",
    meaning:
      "Trying again would not help. The command ends with the exit code; nothing is lost: the position stays where it was, and the next start goes on from there.",
  },
  resync: {
    short: "ends; load anew",
    meaning:
      "As above, but the next start would meet the same: changes are gone, or the documents are of another kind, so that they have to be loaded anew. That " +
      "happens only on request, as the remedy says.",
  },
};

/** The text of docs/errors.md. */
export function errorsDocument(): string {
  const steps = Object.values(NEXT).map(({ short, meaning }) => `- **${short}**: ${meaning}`);
  const rows = Object.entries(ERRORS).map(([code, definition]) => row(code, definition));
  return `# Errors

<!-- Written by \`deno task docs:errors\` from src/errors/codes.ts: change it there. -->

Each error is a code that stays the same from version to version, a sentence, and what to do. They stand so on stderr, in the log, in \`/status\` and on the
page; a more exact remedy is often given with the error itself, as the SQL to run. What is tried again and what is not is decided by PostgreSQL's SQLSTATE and by the
search engine's HTTP status and error type, never by the text of a message.

What happens next:

${steps.join("\n")}

${table(["code", "meaning", "what to do", "what happens next", "exit code"], rows)}

The exit codes are those of [the command line](cli.md#exit-codes): ${
    Object.entries(EXIT).map(([name, code]) => `${code} ${name}`).join(", ")
  }.
`;
}

function row(code: string, { meaning, remedy, next, onceConnected, exitCode }: ErrorDefinition): string[] {
  const follows = onceConnected === undefined
    ? NEXT[next].short
    : `${NEXT[next].short}; once connected, ${NEXT[onceConnected].short}`;
  return [`\`${code}\``, meaning, remedy, follows, String(exitCode)].map((cell) =>
    cell.replaceAll("|", "\\|")
  );
}

/** A table with even columns, as \`deno fmt\` leaves it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, at) =>
    Math.max(cell.length, ...rows.map((cells) => cells[at]?.length ?? 0))
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |`;
  return [head, widths.map((width) => "-".repeat(width)), ...rows].map(line).join("\n");
}

if (import.meta.main) {
  writeFileSync(ERRORS_FILE, errorsDocument());
  console.log(`${ERRORS_FILE}: ${Object.keys(ERRORS).length} errors`);
}
