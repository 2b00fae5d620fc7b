/**
 * The search engines allow 255 bytes; the rest is left for the suffix of the index generation behind the alias.
 * https://www.elastic.co/guide/en/elasticsearch/reference/8.19/indices-create-index.html
 */
const MAX_BYTES = 200;

/**
 * Says what is wrong with the name of an index.
 *
 * @returns what the name must be (continuing "the index name …"), or null where nothing is wrong
 */
export function indexNameFault(name: string): string | null {
  if (name === "") return "must not be empty";
  if (name === "." || name === "..") return "must not be . or ..";
  const first = name.slice(0, 1);
  if ("-_+".includes(first)) return `must not start with ${first}`;
  const forbidden = /[\\/*?"<>|\s,#:]/.exec(name);
  if (forbidden !== null) {
    return `must not contain ${/\s/.test(forbidden[0]) ? "blanks" : forbidden[0]}`;
  }
  if (name !== name.toLowerCase()) return `must be lower case ("${name.toLowerCase()}")`;
  if (new TextEncoder().encode(name).length > MAX_BYTES) return `must not be longer than ${MAX_BYTES} bytes`;
  return null;
}
