/** Workload c: one transaction that updates many rows. */
import type { Workload } from "../bench.ts";
import { type Change, changes } from "../changes.ts";
import { atLeast, ratio, workOf } from "../result.ts";

const ROWS = 100_000;
const CASE = "root rows";
const CHILD_CASE = "child rows";

export const largeTransaction: Workload = {
  letter: "c",
  name: "transaction",
  title: "One transaction of many updates",
  async run(bench) {
    const rows = bench.scaled(ROWS, 100);
    const measurements = await changes(bench, bench.bookshop, [rootRows(rows), childRows(rows)]);
    const ofFloor = (name: string) =>
      ratio(workOf(measurements, name, "pgsync")?.perSecond, workOf(measurements, name, "floor")?.perSecond);
    return {
      measurements,
      verdicts: [CASE, CHILD_CASE].flatMap((name) =>
        atLeast(`one transaction, ${name}: at least 0.7 of the floor's documents/s`, ofFloor(name), 0.7, " ×")
      ),
    };
  },
};

/** The first books by their numbers get another price, one that no other book has. */
function rootRows(rows: number): Change {
  const keys = `SELECT isbn FROM book ORDER BY isbn LIMIT ${rows}`;
  const price = (value: number) => 1_000 + value;
  return {
    name: CASE,
    documents: [rows],
    keys: [keys],
    async commit({ sql }, value) {
      await sql.unsafe(`UPDATE book SET price = ${price(value)} WHERE isbn IN (${keys})`);
    },
    queries: (value) => [{ term: { price: price(value) } }],
    python: true,
  };
}

/** One rating each of the first books that have some gets more stars than there are. */
function childRows(rows: number): Change {
  const stars = (value: number) => 100 + value;
  const ratings = `SELECT min(id) FROM rating GROUP BY book_isbn ORDER BY book_isbn LIMIT ${rows}`;
  return {
    name: CHILD_CASE,
    documents: [rows],
    keys: [`SELECT DISTINCT book_isbn FROM rating ORDER BY book_isbn LIMIT ${rows}`],
    async commit({ sql }, value) {
      await sql.unsafe(`UPDATE rating SET stars = ${stars(value)} WHERE id IN (${ratings})`);
    },
    queries: (value) => [{ term: { "ratings.stars": stars(value) } }],
    python: false,
  };
}
