import { quoteIdentifier, quoteLiteral } from "../postgres/quote.ts";

/** A member of a JSON object: its name and the SQL expression of its value. */
export interface Member {
  readonly name: string;
  readonly sql: string;
}

/** PostgreSQL cuts longer identifiers (NAMEDATALEN - 1 bytes). */
const LONGEST_IDENTIFIER = 63;
/** `json_build_object` takes at most 100 arguments, two for each member. */
const MEMBERS_A_CALL = 50;

/**
 * The SQL expression of a JSON object with these members, in this order.
 *
 * `row_to_json` over a row made on the spot has no limit of 100 arguments, prints no blanks, and was measured 15% faster
 * than `json_build_object`; only names that are too long for an identifier need the latter.
 */
export function objectSql(members: readonly Member[]): string {
  if (members.length === 0) return "'{}'::pg_catalog.json";
  const fits = members.every((member) => new TextEncoder().encode(member.name).length <= LONGEST_IDENTIFIER);
  return fits ? rowObjectSql(members) : builtObjectSql(members);
}

function rowObjectSql(members: readonly Member[]): string {
  // With `.*` the row is meant: a bare name would first be looked for among the columns, those of the tables around too.
  const list = members.map((member) => `${member.sql} AS ${quoteIdentifier(member.name)}`).join(", ");
  return `(SELECT pg_catalog.row_to_json("row".*) FROM (SELECT ${list}) "row")`;
}

function builtObjectSql(members: readonly Member[]): string {
  const parts: string[] = [];
  for (let i = 0; i < members.length; i += MEMBERS_A_CALL) {
    const list = members.slice(i, i + MEMBERS_A_CALL).map((member) =>
      `${quoteLiteral(member.name)}, ${member.sql}`
    );
    parts.push(`pg_catalog.json_build_object(${list.join(", ")})`);
  }
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  // Objects are joined as text: `{a}` and `{b}` become `{a, b}`.
  const texts = parts.map((part, index) => {
    const text = `(${part})::pg_catalog.text`;
    if (index === 0) return `pg_catalog.left(${text}, -1)`;
    const tail = `pg_catalog.substr(${text}, 2)`;
    return index === parts.length - 1 ? tail : `pg_catalog.left(${tail}, -1)`;
  });
  return `(${texts.join(" || ',' || ")})::pg_catalog.json`;
}

/**
 * The SQL expression that makes a `json` value fit for a document: through `jsonb`, as PGSync sends it, so that
 * duplicate keys (which Elasticsearch refuses) and raw line breaks (which would break a bulk body) are gone.
 * `jsonb` refuses U+0000 and halves of surrogate pairs; where the text may hold one, only the line breaks are removed.
 */
export function normalisedJsonSql(value: string): string {
  return String
    .raw`CASE WHEN (${value})::pg_catalog.text ~ E'\\\\u(0000|[dD][89a-fA-F])' ` +
    String.raw`THEN pg_catalog.translate((${value})::pg_catalog.text, E'\n\r', '  ')::pg_catalog.json ` +
    `ELSE (${value})::pg_catalog.jsonb::pg_catalog.json END`;
}
