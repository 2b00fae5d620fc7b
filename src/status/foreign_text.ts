/** Texts that others wrote (rows, PostgreSQL, the search engine), made fit to be kept. */

/** At most so many characters, with a mark where some were cut off. */
export function shortened(text: string, longest: number): string {
  if (text.length <= longest) return text;
  // Not in the middle of a character of two.
  const end = /[\ud800-\udbff]/.test(text.charAt(longest - 1)) ? longest - 1 : longest;
  return `${text.slice(0, end)}…`;
}
