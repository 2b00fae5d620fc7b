/** What the fuzz does to a world: statements, in transactions of one to three writers. It is data, so that it can be shrunk and printed. */

/** One statement. */
export interface Statement {
  readonly sql: string;
  /** Of a `COPY … FROM STDIN`: the query that gives its rows. */
  readonly rows?: string;
  /** Errors that it may end with beside those that any statement may: SQLSTATEs. */
  readonly errors?: readonly string[];
  /** It changes more than rows: a run learns of it from the catalog alone. */
  readonly alters?: true;
  /** PostgreSQL runs it outside of transaction blocks only. */
  readonly alone?: true;
}

/** Statements behind a savepoint. Where one fails, all are rolled back, and the transaction goes on. */
export interface Savepoint {
  readonly statements: readonly Statement[];
  readonly end: "release" | "rollback";
}

/** A part of a transaction. A statement that fails outside of a savepoint ends the transaction. */
export type Part = Statement | Savepoint;

/** One thing that a writer does: a transaction, or a statement by itself. */
export interface Step {
  /** Which of the writers; the steps of one come one after the other, those of several at the same time. */
  readonly writer: number;
  readonly parts: readonly Part[];
  /** `none`: one statement, outside of any transaction block. */
  readonly end: "commit" | "rollback" | "none";
}

/** All that happens to a world. Every part stays valid when others are left out. */
export interface History {
  /** Rows that are there before a run begins. */
  readonly before: readonly Statement[];
  /** After each round all writers rest, and the documents are compared. */
  readonly rounds: readonly (readonly Step[])[];
}

/** Whether a part is a savepoint. */
export function isSavepoint(part: Part): part is Savepoint {
  return "statements" in part;
}

/** Whether a step does more than change rows. */
export function alters({ parts }: Step): boolean {
  return parts.some((part) =>
    (isSavepoint(part) ? part.statements : [part]).some((one) => one.alters === true)
  );
}

/** How many steps there are. */
export function stepsOf(history: History): number {
  return history.rounds.reduce((sum, round) => sum + round.length, 0);
}

/** How many statements there are. */
export function statementsOf(history: History): number {
  return history.rounds.flat().flatMap((step) => step.parts)
    .reduce((sum, part) => sum + (isSavepoint(part) ? part.statements.length : 1), history.before.length);
}

/** A history as SQL that a person can read, and run with psql (but for COPY, whose rows are given as a query). */
export function printHistory(history: History): string {
  const lines = ["-- before the run", ...history.before.flatMap((statement) => print(statement, ""))];
  for (const round of history.rounds) {
    for (const step of round) lines.push("", `-- writer ${step.writer + 1}`, ...printStep(step));
    lines.push("", "-- a quiet point: the documents are compared");
  }
  return lines.join("\n");
}

function printStep({ parts, end }: Step): string[] {
  if (end === "none") return parts.flatMap((part) => isSavepoint(part) ? [] : print(part, ""));
  const inner = parts.flatMap((part) => {
    if (!isSavepoint(part)) return print(part, "  ");
    return [
      "  SAVEPOINT s;",
      ...part.statements.flatMap((statement) => print(statement, "    ")),
      part.end === "release" ? "  RELEASE s;" : "  ROLLBACK TO s;",
    ];
  });
  return ["BEGIN;", ...inner, end === "commit" ? "COMMIT;" : "ROLLBACK;"];
}

function print({ sql, rows }: Statement, indent: string): string[] {
  const lines = `${sql};`.split("\n").map((line) => indent + line);
  if (rows !== undefined) lines.push(`${indent}-- its rows: ${rows}`);
  return lines;
}
