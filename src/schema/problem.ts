import type { ErrorCode } from "../errors/codes.ts";
import { PgsyncError } from "../errors/error.ts";
import type { Path } from "./place.ts";
import type { Place } from "./tree.ts";

/** One thing wrong in the schema file, and where. */
export interface SchemaProblem {
  readonly place: Place;
  readonly message: string;
}

/** A problem or a warning found in one document, before its place in the text is looked up. */
export interface Finding {
  readonly path: Path;
  /** Whether the key at the end of the path is meant, or its value. */
  readonly at: "key" | "value";
  readonly message: string;
}

/** So many problems are listed in the message; a file that is no schema at all could have thousands. */
const LISTED = 50;

/**
 * All problems of a schema file at once. The message lists them one per line, in order of place, each as
 * `file:line:column: path: what is wrong`; `problems` holds the same as data.
 */
export class SchemaError extends PgsyncError {
  readonly problems: readonly SchemaProblem[];

  constructor(
    code: Extract<ErrorCode, "SCHEMA_INVALID" | "SCHEMA_UNSUPPORTED">,
    problems: readonly SchemaProblem[],
  ) {
    const sorted = sortByPlace(problems);
    super(code, describeProblems(sorted));
    this.problems = sorted;
  }
}

/** Sorts by line and column; what stands at one place keeps its order. */
export function sortByPlace<T extends { readonly place: Place }>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => a.place.line - b.place.line || a.place.column - b.place.column);
}

/** Prints a place as editors and terminals understand it, followed by the path inside the file. */
export function formatPlace(place: Place): string {
  const position = `${place.file}:${place.line}:${place.column}`;
  return place.path === "" ? position : `${position}: ${place.path}`;
}

function describeProblems(problems: readonly SchemaProblem[]): string {
  const lines = problems.slice(0, LISTED).map((problem) =>
    `${formatPlace(problem.place)}: ${problem.message}`
  );
  if (problems.length > LISTED) lines.push(`… and ${problems.length - LISTED} more`);
  return lines.join("\n");
}
