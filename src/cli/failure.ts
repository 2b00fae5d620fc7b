/** How an error ends a command: what is printed, and the exit code. */
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { inOneLine, toJson } from "./format.ts";

/** How errors are shown. */
export interface FailureStyle {
  readonly format: "text" | "json";
  /** With stack traces. */
  readonly verbose: boolean;
}

/**
 * `error CODE: sentence`, the remedy's lines indented; with `verbose` the stacks of the error and of its causes. As
 * JSON: one line like those of the log.
 */
export function describeFailure(thrown: unknown, style: FailureStyle): string {
  const error = toPgsyncError(thrown);
  if (style.format === "json") {
    return toJson({
      time: new Date().toISOString(),
      level: "fatal",
      category: "pgsync.cli",
      message: error.message,
      properties: {
        code: error.code,
        remedy: error.remedy,
        next: error.next,
        exitCode: error.exitCode,
        ...style.verbose ? { stacks: stacks(error) } : {},
      },
    });
  }
  const [first = "", ...more] = error.message.split("\n");
  const head = more.length === 0
    ? `error ${error.code}: ${first}`
    : [`error ${error.code}:`, ...indent(error.message)]
      .join("\n");
  const lines = [head, ...indent(error.remedy)];
  if (style.verbose) lines.push(...stacks(error));
  return lines.flatMap((line) => line.split("\n")).map(inOneLine).join("\n");
}

function indent(text: string): string[] {
  return text.split("\n").map((line) => `  ${line}`);
}

function stacks(error: Error): string[] {
  const found: string[] = [];
  for (let current: unknown = error; current !== undefined;) {
    if (!(current instanceof Error)) {
      found.push(`caused by ${String(current)}`);
      break;
    }
    const code = !(current instanceof PgsyncError) && "code" in current ? ` (${String(current.code)})` : "";
    found.push(`${found.length === 0 ? "" : "caused by "}${current.stack ?? current.message}${code}`);
    current = current.cause;
  }
  return found;
}
