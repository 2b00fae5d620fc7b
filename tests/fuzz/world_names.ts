/** Names that tables and columns have in the wild, and worse. */
import { chance, pick, type Random } from "../support/random.ts";

const TABLES = ["book", "author", "city", "part", "tag", "person", "unit", "event", "note"];
const COLUMNS = ["title", "name", "amount", "state", "place", "kind", "size", "colour", "rank", "body"];

/** Names that need quotes, are words of SQL, or that a statement of the product might use itself. */
const ODD = [
  ...["Order", "select", "user", "group", "table", "row", "chunk", "k1", "v", "n0", "k", "id1", "ln1", "gn1"],
  ...[
    "with blank",
    " lead",
    'quo"te',
    "it's",
    "cash$1",
    "größe",
    "名前",
    "😀",
    "per%cent",
    "a,b",
    "{x}",
    "(y)",
  ],
  ...["back\\slash", "semi;colon", "C:D", "a/b", "constructor", "document", "r1", "question?", "[0]", "--"],
  ...["a_name_that_is_as_long_as_postgresql_lets_a_name_be____________"],
];
/** These also hold a dot, which is a step to the search engine, and no part of a link table's name. */
const DOTTED = ["dot.ted", "x.y.z"];
const SCHEMAS = ["Other Schema", "späti", "app", "select", "o'brien", "MiXed"];

/** Gives names out, none twice in one place. */
export class Names {
  readonly #taken = new Map<string, Set<string>>();

  /** @param odd how many of a hundred names are odd ones */
  constructor(private readonly random: Random, private readonly odd: number) {}

  /** @param where names are distinct within it */
  table(where: string, dots = true): string {
    return this.#fresh(
      `table ${where}`,
      chance(this.random, this.odd) ? this.#odd(dots) : pick(this.random, TABLES),
    );
  }

  column(where: object, plain = pick(this.random, COLUMNS)): string {
    const names = this.#columns.get(where) ?? `column ${this.#columns.size}`;
    this.#columns.set(where, names);
    return this.#fresh(names, chance(this.random, this.odd) ? this.#odd(true) : plain);
  }

  schema(): string {
    return this.#fresh("schema", pick(this.random, SCHEMAS));
  }

  /** A name of a table that another schema has taken. */
  again(where: string, name: string): string | null {
    const taken = this.#taken.get(`table ${where}`) ?? new Set();
    if (taken.has(name)) return null;
    this.#taken.set(`table ${where}`, taken.add(name));
    return name;
  }

  readonly #columns = new Map<object, string>();

  #odd(dots: boolean): string {
    return pick(this.random, dots && chance(this.random, 10) ? DOTTED : ODD);
  }

  #fresh(where: string, wanted: string): string {
    const taken = this.#taken.get(where) ?? new Set();
    this.#taken.set(where, taken);
    let name = wanted;
    for (let number = 2; taken.has(name); number++) name = `${wanted.slice(0, 50)}${number}`;
    taken.add(name);
    return name;
  }
}
