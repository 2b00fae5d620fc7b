/** JSON whose numbers keep their digits: `12.50` and 9007199254740993 as they are written. */

/** A number, by its digits. */
export class Digits {
  constructor(readonly text: string) {}
}

/** A JSON value with {@link Digits} in place of numbers. */
export type Exact = string | boolean | null | Digits | readonly Exact[] | { readonly [key: string]: Exact };

/** A JSON object with {@link Digits} in place of numbers. */
export type ExactObject = { readonly [key: string]: Exact };

/**
 * Parses JSON and keeps the digits of numbers. The runtime hands their source to the reviver
 * (https://github.com/tc39/proposal-json-parse-with-source).
 *
 * @throws SyntaxError where the text is not JSON
 */
export function parseExact(text: string): Exact {
  return JSON.parse(text, (_key: string, value: unknown, ...more: unknown[]) => {
    if (typeof value !== "number") return value;
    const context = more[0];
    if (typeof context !== "object" || context === null || !("source" in context)) {
      throw new Error("this runtime does not tell the digits of numbers in JSON");
    }
    return new Digits(String(context.source));
  });
}

/** True for a JSON object. */
export function isObject(value: Exact | undefined): value is ExactObject {
  return typeof value === "object" && value !== null && !(value instanceof Digits) && !isList(value);
}

/** True for a JSON array. */
export function isList(value: Exact | undefined): value is readonly Exact[] {
  return Array.isArray(value);
}

/**
 * The first difference of two values, as `path: expected …, found …`, or null where they are equal: the same fields, the same
 * digits, arrays in the same order. The order of an object's fields does not count.
 */
export function firstDifference(
  expected: Exact | undefined,
  found: Exact | undefined,
  path = "",
): string | null {
  const differ = () => `${path || "document"}: expected ${show(expected)}, found ${show(found)}`;
  if (isList(expected) && isList(found)) {
    if (expected.length !== found.length) return differ();
    return expected.map((item, index) => firstDifference(item, found[index], `${path}[${index}]`)).find(
      isString,
    ) ?? null;
  }
  if (isObject(expected) && isObject(found)) {
    const keys = new Set([...Object.keys(expected), ...Object.keys(found)]);
    const inside = (key: string) => path === "" ? key : `${path}.${key}`;
    return [...keys].map((key) => firstDifference(expected[key], found[key], inside(key))).find(isString) ??
      null;
  }
  if (expected instanceof Digits && found instanceof Digits) {
    return expected.text === found.text ? null : differ();
  }
  return expected === found ? null : differ();
}

function isString(value: string | null): value is string {
  return value !== null;
}

/** A value in JSON, as it was written. */
function show(value: Exact | undefined): string {
  if (value === undefined) return "nothing";
  if (value instanceof Digits) return value.text;
  if (isList(value)) return `[${value.map(show).join(",")}]`;
  if (isObject(value)) {
    return `{${
      Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}:${show(inner)}`).join(",")
    }}`;
  }
  return JSON.stringify(value);
}
