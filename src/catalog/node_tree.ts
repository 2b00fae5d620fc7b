import { PgsyncError } from "../errors/error.ts";

/**
 * A value in a tree that PostgreSQL has written as text (`pg_node_tree`): a node, a list, or a word; null for `<>`.
 * Words are as written, escapes resolved; a string keeps its quotes.
 */
export type NodeValue = TreeNode | readonly NodeValue[] | string | null;

/** A node: its type, as `QUERY` or `VAR`, and its fields by their names. */
export interface TreeNode {
  readonly type: string;
  readonly fields: ReadonlyMap<string, NodeValue>;
}

/** Brackets stand alone; all else is parted by blanks, and a backslash takes its meaning from what follows it. */
const TOKEN = /\s*([(){}]|(?:[^\s(){}\\]|\\[\s\S])+)/y;

/**
 * Reads a `pg_node_tree`, such as a view's rule in `pg_rewrite.ev_action`. The form is that of outfuncs.c, which has been the
 * same since long before PostgreSQL 13: `{TYPE :field value …}`, `(element …)`, `<>` for nothing, and after a constant
 * its bytes in square brackets.
 *
 * @throws {PgsyncError} INTERNAL where the text is of another form
 */
export function parseNodeTree(text: string): NodeValue {
  const tokens = tokensOf(text);
  let at = 0;

  function value(): NodeValue {
    const token = tokens[at++];
    switch (token) {
      case undefined:
      case ")":
      case "}":
        throw unreadable(at);
      case "{":
        return node();
      case "(":
        return list();
      default:
        return token === "<>" ? null : unescape(token);
    }
  }

  function node(): TreeNode {
    const type = tokens[at++] ?? "";
    const fields = new Map<string, NodeValue>();
    while (tokens[at] !== "}") {
      const name = tokens[at++];
      if (name === undefined || !name.startsWith(":")) throw unreadable(at);
      fields.set(name.slice(1), value());
      if (tokens[at] === "[") {
        const end = tokens.indexOf("]", at);
        if (end < 0) throw unreadable(at);
        at = end + 1;
      }
    }
    at++;
    return { type, fields };
  }

  function list(): NodeValue[] {
    const elements: NodeValue[] = [];
    while (tokens[at] !== ")") elements.push(value());
    at++;
    return elements;
  }

  const tree = value();
  if (at < tokens.length) throw unreadable(at);
  return tree;
}

/** Whether a value is a node, and not a list or a word. */
export function isTreeNode(value: NodeValue | undefined): value is TreeNode {
  return typeof value === "object" && value !== null && "type" in value;
}

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  const pattern = new RegExp(TOKEN);
  for (let end = 0; pattern.lastIndex < text.length; end = pattern.lastIndex) {
    const token = pattern.exec(text)?.[1];
    if (token === undefined) {
      if (text.slice(end).trim() === "") break;
      throw unreadable(tokens.length);
    }
    tokens.push(token);
  }
  return tokens;
}

function unescape(token: string): string {
  return token.includes("\\") ? token.replaceAll(/\\([\s\S])/g, "$1") : token;
}

function unreadable(at: number): PgsyncError {
  return new PgsyncError(
    "INTERNAL",
    `A rule of a view has a form that was not expected (at its part ${at}).`,
  );
}
