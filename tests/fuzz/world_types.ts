/** Types of keys and of values, with values that meet, and some that are hard. */
import { between, chance, pick, type Random, shuffled, some } from "../support/random.ts";
import { type ColumnDraft, type Graph, type KeyType, literal, qualified } from "./world_drafts.ts";
import type { Names } from "./world_names.ts";

const TEXTS = [
  ...[
    "a",
    "A",
    "b",
    "a|b",
    "a\\|b",
    "\\",
    "|",
    "||",
    "'",
    '"',
    "",
    "é",
    "e\u0301",
    "名前",
    "😀",
    "a b",
    "a\nb",
  ],
  ...["%", "_", "$1", "a,b", "{a}", "NULL", "a/b?c#d", "\t", "0", "-"],
];
const WHOLE = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "-1"];
const UUIDS = [
  ...["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
  ..."0123456789".split("").map((digit) => `a0eebc99-9c0b-4ef8-bb6d-6bb9bd38${digit}a11`),
];
const DATES = [
  "2024-02-29",
  "2024-03-01",
  "1999-12-31",
  "1970-01-01",
  "0044-03-15 BC",
  "9999-12-31",
  "infinity",
];
/** Some are equal and print differently. */
const NUMERICS = [
  "0",
  "1",
  "1.0",
  "1.00",
  "2.5",
  "2.50",
  "-0.10",
  "-0.1",
  "100",
  "12345678901234567890.123456789",
  "NaN",
];
const ENUM_LABELS = ["b", "a", "C c", "d|e", "é", "x'y", "\\", "0"];

const PLAIN: readonly KeyType[] = [
  { kind: "int", sql: "int", values: [...WHOLE, "2147483647", "-2147483648"] },
  {
    kind: "bigint",
    sql: "bigint",
    values: [...WHOLE, "9007199254740993", "9223372036854775807", "-9007199254740993"],
  },
  { kind: "smallint", sql: "smallint", values: [...WHOLE, "32767"] },
  { kind: "text", sql: "text", values: TEXTS },
  { kind: "varchar", sql: "varchar(20)", values: TEXTS },
  { kind: "char", sql: "char(4)", values: ["a", "A", "ab", "abc", "abcd", "é", "a|", "\\", "'", ""] },
  { kind: "uuid", sql: "uuid", values: UUIDS },
  { kind: "date", sql: "date", values: DATES },
  { kind: "numeric", sql: "numeric", values: NUMERICS },
];

/** A type for a key of its own: ints come most often, as they do. */
export function newKeyType(random: Random, graph: Graph, names: Names): KeyType {
  const choice = random.below(100);
  if (choice < 25) return trimmed(random, PLAIN[0] ?? pick(random, PLAIN));
  if (choice < 85) return trimmed(random, pick(random, PLAIN));
  // A table brings a type of its name with it.
  const schema = pick(random, graph.schemas);
  const name = qualified({ schema, name: names.table(schema) });
  if (choice < 95) {
    const labels = shuffled(random, ENUM_LABELS);
    graph.types.push(
      `CREATE TYPE ${name} AS ENUM (${labels.map((label) => `'${label.replaceAll("'", "''")}'`).join(", ")})`,
    );
    return { kind: "enum", sql: name, values: labels };
  }
  const base = trimmed(random, pick(random, PLAIN.filter((type) => ["int", "text"].includes(type.kind))));
  graph.types.push(`CREATE DOMAIN ${name} AS ${base.sql}`);
  return { kind: `domain over ${base.kind}`, sql: name, values: base.values };
}

/** The same type with fewer values. */
function trimmed(random: Random, type: KeyType): KeyType {
  return { ...type, values: some(random, type.values, between(random, 5, 12)) };
}

interface OtherType {
  readonly kind: string;
  /** Which values it can hold. */
  readonly fits: RegExp;
  /** Other values that are equal to one. */
  readonly also?: (value: string) => readonly string[];
}

const WIDER: Readonly<Record<string, readonly OtherType[]>> = {
  int: [{ kind: "bigint", fits: /^/ }, { kind: "smallint", fits: /^-?\d{1,4}$/ }],
  bigint: [{ kind: "int", fits: /^-?\d{1,9}$/ }],
  smallint: [{ kind: "int", fits: /^/ }, { kind: "bigint", fits: /^/ }],
  // Blanks at the end count among varchar, but not between it and char(n).
  char: [{ kind: "varchar", fits: /^/, also: (value) => [`${value} `, `${value}   `] }],
  text: [{ kind: "varchar", fits: /^/ }],
  varchar: [{ kind: "text", fits: /^/ }],
  numeric: [{ kind: "int", fits: /^-?\d{1,9}$/ }],
};

/** Another type that can refer to this one, or null. */
export function comparableType(random: Random, type: KeyType): KeyType | null {
  const choices = WIDER[type.kind];
  if (choices === undefined) return null;
  const { kind, fits, also } = pick(random, choices);
  const found = PLAIN.find((candidate) => candidate.kind === kind);
  const values = type.values.filter((value) => fits.test(value))
    .flatMap((value) => [value, ...also?.(value) ?? []]);
  return found === undefined || values.length < 2 ? null : { ...found, values };
}

export function keyColumn(name: string, keyType: KeyType, notNull: boolean): ColumnDraft {
  const { sql, kind, values } = keyType;
  const domain = [...values.map((value) => literal(sql, value)), ...(notNull ? [] : ["NULL"])];
  return { name, sql, kind, keyType, notNull, generated: null, domain, external: false };
}

/** Values of all objects have one shape, for one field of an index has one type. */
const OBJECTS = [
  '{"a": [1, 2, 3], "b": {"c": "x", "d": 1.50}, "s": "text", "f": true, "0": "zero"}',
  '{"a": [], "b": {}, "s": "😀 \\"q\\" \\u0007", "f": false}',
  '{"a": [10], "b": {"d": 3.0, "c": "a\\\\b", "e e": null}, "s": null, "0": "nought"}',
  '{"b": null, "s": ""}',
  "{}",
  "null",
];

/** [in a word, type, values]: plain values, each kind with what is special about it. */
const VALUES: readonly (readonly [string, string, readonly string[]])[] = [
  ["text", "text", ["x", "", "a\nb", "q\"'\\", "名前 😀", "2024-01-01", "\u0001"]],
  ["int", "int", ["0", "1", "-2147483648", "2147483647"]],
  ["bigint", "bigint", ["0", "9007199254740993", "-9223372036854775808"]],
  ["numeric", "numeric(80,20)", ["1", "1.50", "123456789012345678901234567890.12345678901234567890"]],
  ["numeric", "numeric", ["1.0", "1.00", "NaN", "1e-30", "0.000"]],
  ["float", "float8", ["0", "-0", "1.5", "NaN", "-Infinity", "1e300", "0.1"]],
  ["float", "real", ["1", "0.1", "3.4e38"]],
  ["bool", "bool", ["true", "false"]],
  ["timestamptz", "timestamptz", [
    "2024-03-31 02:30:00+02",
    "1970-01-01 00:00:00.123456+00",
    "infinity",
    "0044-03-15 12:00:00+00 BC",
  ]],
  ["timestamp", "timestamp", ["2024-03-31 02:30:00", "9999-12-31 23:59:59.999999"]],
  ["date", "date", ["2024-02-29", "-infinity", "0044-03-15 BC"]],
  ["interval", "interval", ["1 day", "24:00:00", "-1 mon 3 days"]],
  ["uuid", "uuid", UUIDS.slice(0, 3)],
  ["bytea", "bytea", ["\\x", "\\x00ff5c", "\\xdeadbeef"]],
  ["json", "json", [...OBJECTS, '{"s": "first",\n "s": "second", "f":   true}']],
  ["jsonb", "jsonb", OBJECTS],
  ["array", "int[]", ["{}", "{1,2,NULL}", "{{1,2},{3,4}}"]],
  ["array", "text[]", ["{}", '{a,NULL,"b c","\\"q\\""}']],
  ["range", "int4range", ["empty", "[1,5)", "(,3]"]],
];

/** A column of plain values, most often nullable. */
export function valueColumn(random: Random, name: string, kind?: string): ColumnDraft {
  const [word, sql, values] = pick(
    random,
    kind === undefined ? VALUES : VALUES.filter(([found]) => found === kind),
  );
  const notNull = chance(random, 20);
  const domain = some(random, values, 5).map((value) => literal(sql, value));
  if (!notNull) domain.push("NULL");
  return { name, sql, kind: word, keyType: null, notNull, generated: null, domain, external: false };
}

/** Texts too long for their row; two of them differ in their last letter only. */
export function largeColumn(name: string): ColumnDraft {
  const domain = ["repeat('large é ', 1100)", "repeat('large é ', 1100) || '!'", "'small'::text", "NULL"];
  return {
    name,
    sql: "text",
    kind: "large text",
    keyType: null,
    notNull: false,
    generated: null,
    domain,
    external: true,
  };
}
