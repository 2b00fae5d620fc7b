import { type ErrorCode, type ErrorDefinition, ERRORS, type NextStep } from "./codes.ts";

/** Details that an error may carry besides its sentence. */
export interface ErrorDetails {
  /** A remedy more exact than the one that belongs to the code (for example the SQL to run). */
  readonly remedy?: string;
  /** The error underneath, for the debug log. */
  readonly cause?: unknown;
}

/**
 * An error for the operator: a stable code, one sentence, what to do, and what happens next.
 *
 * @example
 * ```ts
 * throw new PgsyncError("TABLE_MISSING", 'Table "public"."boks" does not exist.');
 * ```
 */
export class PgsyncError extends Error {
  /** The class of the error, for logs. */
  override readonly name = "PgsyncError";
  /** What to do about it. */
  readonly remedy: string;

  /**
   * Makes an error.
   *
   * @param code the stable code, a key of `ERRORS`
   * @param message one sentence
   * @param details a remedy, a cause
   */
  constructor(
    /** The stable code, a key of `ERRORS`. */
    readonly code: ErrorCode,
    message: string,
    details: ErrorDetails = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.remedy = details.remedy ?? ERRORS[code].remedy;
  }

  /** What the program does after this error. */
  get next(): NextStep {
    return ERRORS[this.code].next;
  }

  /** What a run does after this error that has been connected already. */
  get nextOnceConnected(): NextStep {
    const definition: ErrorDefinition = ERRORS[this.code];
    return definition.onceConnected ?? definition.next;
  }

  /** The exit code of a command that ends with this error. */
  get exitCode(): number {
    return ERRORS[this.code].exitCode;
  }
}

/**
 * Makes a `PgsyncError` of whatever was thrown; what is not one already becomes `INTERNAL`.
 *
 * @param thrown anything that a `catch` may hold
 */
export function toPgsyncError(thrown: unknown): PgsyncError {
  if (thrown instanceof PgsyncError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new PgsyncError("INTERNAL", message, { cause: thrown });
}
