/** A path inside a value of the schema file: keys and list positions, outermost first. */
export type Path = readonly (string | number)[];

const PLAIN_KEY = /^[A-Za-z_$][\w$-]*$/;

/**
 * Prints a path as it stands in messages, for example `[0].nodes.children[1].transform["a b"]`.
 *
 * @param path keys and positions, outermost first; the empty path prints as the empty string
 */
export function formatPath(path: Path): string {
  let text = "";
  for (const segment of path) {
    if (typeof segment === "number") text += `[${segment}]`;
    else if (!PLAIN_KEY.test(segment)) text += `[${JSON.stringify(segment)}]`;
    else text += text === "" ? segment : `.${segment}`;
  }
  return text;
}
