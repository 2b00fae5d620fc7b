/** The variables that the schema file may name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A text with its variables filled in, and the names that the environment does not have. */
export interface Substitution {
  readonly text: string;
  readonly missing: readonly string[];
}

/**
 * Fills `$NAME` and `${NAME}` from the environment; `$$` is a dollar sign. An unknown variable, and a dollar
 * sign that starts none, stay as they are, as PGSync leaves them (Python's `Template.safe_substitute`).
 *
 * @param text a string of the schema file
 * @param environment the variables; one that is set to nothing is known
 */
export function substituteVariables(text: string, environment: Environment): Substitution {
  const missing: string[] = [];
  const filled = text.replace(
    /\$(?:\$|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})/g,
    (written: string, bare: string | undefined, braced: string | undefined) => {
      const name = bare ?? braced;
      if (name === undefined) return "$";
      const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
      if (value === undefined) missing.push(name);
      return value ?? written;
    },
  );
  return { text: filled, missing };
}
