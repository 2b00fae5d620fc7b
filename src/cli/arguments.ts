/**
 * Rewrites arguments of PGSync's that commander cannot take as they are: underscores in long options
 * (`--schema_url`), and `-nc` of `bootstrap`, a short option of two letters.
 *
 * @param args the arguments behind the program's name
 */
export function normaliseArguments(args: readonly string[]): string[] {
  const end = args.indexOf("--");
  return args.map((argument, index) => {
    if (end !== -1 && index >= end) return argument;
    if (argument === "-nc" && args.includes("bootstrap")) return "--no-create";
    const [, name, rest] = /^(--[a-z0-9_-]+)(=.*)?$/s.exec(argument) ?? [];
    return name === undefined ? argument : name.replaceAll(/(?<=\w)_/g, "-") + (rest ?? "");
  });
}
