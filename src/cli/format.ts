/** How data is written for programs. */

/**
 * Text that came from elsewhere (ids, values, what a server says), fit to stand in a line: control characters, line breaks and the marks that turn the direction of
 * text become a blank. They could pretend to be another line, or command the terminal.
 */
export function inOneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]+ */gu, " ");
}

/** JSON text of anything: bigints as decimal text, errors as name, code and message. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, (_key, held: unknown) => {
    if (typeof held === "bigint") return String(held);
    if (held instanceof Error) {
      return { name: held.name, ..."code" in held ? { code: held.code } : {}, message: held.message };
    }
    return held;
  }, indent);
}
