/** Workload f: one changed row on which many documents depend. */
import type { Bench, Workload } from "../bench.ts";
import { type Change, changes } from "../changes.ts";
import { oneCountry } from "../data/plain.ts";
import { atLeast, atMost, ratio, workOf } from "../result.ts";

const ITEMS = 1_000_000;
/** Single fan-outs in each round: their time is a matter of milliseconds. */
const REPEAT = 10;
const FEW_CASE = "one publisher's books";
const MANY_CASE = "one country's items";

export const fanOut: Workload = {
  letter: "f",
  name: "fan-out",
  title: "Fan-out of one row",
  async run(bench) {
    const dataset = oneCountry(bench.scaled(ITEMS, 1_000));
    const measurements = [
      ...await changes(bench, bench.bookshop, [await publisher(bench)]),
      ...await changes(bench, dataset, [country(bench.scaled(ITEMS, 1_000))]),
    ];
    await bench.drop(dataset);
    const [few, many, floor] = [
      workOf(measurements, FEW_CASE, "pgsync"),
      workOf(measurements, MANY_CASE, "pgsync"),
      workOf(measurements, MANY_CASE, "floor"),
    ];
    return {
      measurements,
      verdicts: [
        ...atMost("fan-out of 200: at most 60 ms", few && few.median.seconds * 1_000, 60, " ms"),
        ...atLeast(
          "fan-out of 1M: at least 0.7 of the floor's rate",
          ratio(many?.perSecond, floor?.perSecond),
          0.7,
          " ×",
        ),
        ...atMost("fan-out of 1M: peak RSS at most 150 MB", many && many.median.peakRss / 1e6, 150, " MB"),
      ],
    };
  },
};

/** The publisher that is nearest to 200 books. */
async function publisher(bench: Bench): Promise<Change> {
  const { sql } = await bench.servers(bench.bookshop);
  const [row] = await sql<{ id: number; books: number }[]>`
    SELECT publisher_id::int AS id, count(*)::int AS books FROM book WHERE publisher_id IS NOT NULL
    GROUP BY publisher_id ORDER BY abs(count(*) - 200), publisher_id LIMIT 1`;
  if (row === undefined) throw new Error("no book has a publisher");
  const name = (value: number) => `Publisher number ${value}`;
  return {
    name: FEW_CASE,
    documents: [row.books],
    keys: [`SELECT isbn FROM book WHERE publisher_id = ${row.id}`],
    async commit({ sql }, value) {
      await sql`UPDATE publisher SET name = ${name(value)} WHERE id = ${row.id}`;
    },
    queries: (value) => [{ term: { "publisher.name.keyword": name(value) } }],
    repeat: REPEAT,
    python: true,
  };
}

/** The country in which all items lie, two tables away. */
function country(items: number): Change {
  const name = (value: number) => `Country number ${value}`;
  return {
    name: MANY_CASE,
    documents: [items],
    keys: ["all"],
    async commit({ sql }, value) {
      await sql`UPDATE country SET name = ${name(value)} WHERE id = 1`;
    },
    queries: (value) => [{ term: { "town.country.name.keyword": name(value) } }],
    // It answers a few hundred rows a second.
    python: false,
  };
}
