/** SQL as PostgreSQL's lexer takes it apart (https://www.postgresql.org/docs/current/sql-syntax-lexical.html), as far as our statements use it. */

/** A token; of quoted ones `text` is what they stand for. */
export interface SqlToken {
  readonly kind: "identifier" | "string" | "parameter" | "word" | "number" | "comment" | "symbol";
  readonly text: string;
}

const PATTERNS: readonly (readonly [SqlToken["kind"], RegExp, (text: string) => string])[] = [
  ["comment", /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y, (text) => text],
  [
    "string",
    /E'(?:[^'\\]|''|\\[\s\S])*'/iy,
    (text) => text.slice(2, -1).replaceAll("''", "'").replaceAll(/\\([\s\S])/g, "$1"),
  ],
  ["string", /'(?:[^']|'')*'/y, (text) => text.slice(1, -1).replaceAll("''", "'")],
  ["string", /(\$(?:[A-Za-z_]\w*)?\$)[\s\S]*?\1/y, (text) => text],
  ["identifier", /"(?:[^"]|"")*"/y, (text) => text.slice(1, -1).replaceAll('""', '"')],
  ["parameter", /\$\d+/y, (text) => text],
  ["word", /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y, (text) => text],
  ["number", /\d+(?:\.\d*)?/y, (text) => text],
  ["symbol", /[^\s]/y, (text) => text],
];

/** The tokens of a statement. @throws Error where a quote is not closed */
export function sqlTokens(sql: string): SqlToken[] {
  const tokens: SqlToken[] = [];
  let position = 0;
  const skipBlanks = () => {
    while (position < sql.length && /\s/.test(sql.charAt(position))) position++;
  };
  for (skipBlanks(); position < sql.length; skipBlanks()) {
    for (const [kind, pattern, read] of PATTERNS) {
      pattern.lastIndex = position;
      const text = pattern.exec(sql)?.[0];
      if (text === undefined) continue;
      if (kind === "symbol" && (text === '"' || text === "'")) {
        throw new Error(`a quote is not closed: ${sql}`);
      }
      tokens.push({ kind, text: read(text) });
      position += text.length;
      break;
    }
  }
  return tokens;
}
