/** How data is written for programs. */

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
