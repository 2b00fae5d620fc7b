/** How data is written for programs. */

/**
 * Text that came from elsewhere (ids, values, what a server says), fit to stand in a line: control characters, line breaks and the marks that turn the direction of
 * text become a blank. They could pretend to be another line, or command the terminal.
 */
export function inOneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]+ */gu, " ");
}

/** JSON text with everything in it escaped that could command the terminal, or turn the direction of text; it says the same. */
export function escapeJson(json: string): string {
  return json.replaceAll(
    /[\x7f-\x9f\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** JSON text of anything, escaped: bigints as decimal text, errors as name, code and message. */
export function toJson(value: unknown, indent?: number): string {
  const json = JSON.stringify(value, (_key, held: unknown) => {
    if (typeof held === "bigint") return String(held);
    if (held instanceof Error) {
      return { name: held.name, ..."code" in held ? { code: held.code } : {}, message: held.message };
    }
    return held;
  }, indent);
  return escapeJson(json);
}
