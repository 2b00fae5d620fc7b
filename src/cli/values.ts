/** Reads single values of flags and variables: text in, checked value out. */
import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import type { Environment, UsedVariable } from "./variables.ts";

/** A value and where it was given, for messages: `--port` or `PG_PORT`. */
export interface Given {
  readonly where: string;
  readonly value: string;
}

/**
 * What was given for a setting: the flag before the variables, an earlier variable before a later one.
 *
 * @returns null where nothing, or an empty text, was given
 */
export function given(
  environment: Environment,
  variables: UsedVariable | readonly UsedVariable[],
  flag?: { readonly name: string; readonly value: string | undefined },
): Given | null {
  if (flag?.value !== undefined) return { where: flag.name, value: flag.value };
  for (const name of typeof variables === "string" ? [variables] : variables) {
    const value = environment[name];
    if (value !== undefined && value !== "") return { where: name, value };
  }
  return null;
}

/** The text of a variable, or null. */
export function textOf(environment: Environment, variable: UsedVariable): string | null {
  return given(environment, variable)?.value ?? null;
}

/** A whole number. @throws PgsyncError USAGE */
export function wholeNumber(from: Given, min: number, max: number): number {
  const schema = z.string().trim().regex(/^\d+$/).transform(Number).refine((number) =>
    number >= min && number <= max
  );
  return check(schema, from, `must be a whole number from ${min} to ${max}`);
}

/** A number of seconds, fractions allowed. @throws PgsyncError USAGE */
export function seconds(from: Given, max: number): number {
  const schema = z.string().trim().regex(/^\d+(\.\d+)?$/).transform(Number).refine((number) =>
    number > 0 && number <= max
  );
  return check(schema, from, `must be a number of seconds above 0 and up to ${max}`);
}

const YES = ["true", "t", "yes", "y", "on", "1"];
const NO = ["false", "f", "no", "n", "off", "0"];

/** A yes or no, in the words that PGSync takes. @throws PgsyncError USAGE */
export function yesOrNo(from: Given): boolean {
  const schema = z.string().trim().toLowerCase().pipe(z.enum([...YES, ...NO])).transform((word) =>
    YES.includes(word)
  );
  return check(schema, from, "must be true or false");
}

/** One of several words. @throws PgsyncError USAGE */
export function choice<const T extends string>(from: Given, words: readonly T[]): T {
  return check(z.enum(words), from, `must be one of ${words.join(", ")}`);
}

/** A text of a certain form. @throws PgsyncError USAGE */
export function matching(from: Given, pattern: RegExp, rule: string): string {
  return check(z.string().regex(pattern), from, rule);
}

/** What percent-encoding stands for; a text with a stray `%` is taken as it is. */
export function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (thrown) {
    if (thrown instanceof URIError) return text;
    throw thrown;
  }
}

function check<T>(schema: z.ZodType<T, string>, { where, value }: Given, rule: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new PgsyncError("USAGE", `${where} ${rule}, but is "${value}".`);
}
