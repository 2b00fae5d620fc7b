/** Workload j: three indices over one slot. */
import type { Bench, Workload } from "../bench.ts";
import { type Change, changes } from "../changes.ts";
import { loads } from "../loads.ts";

const BOOKS = 20_000;
const LOAD_CASE = "three indices, load";
const CHANGE_CASE = "three indices, one transaction";

export const threeIndices: Workload = {
  letter: "j",
  name: "indices",
  title: "Three indices over one slot",
  async run(bench) {
    const dataset = bench.threeIndices;
    return {
      measurements: [
        ...await loads(bench, dataset, { name: LOAD_CASE, python: true }),
        ...await changes(bench, dataset, [await titles(bench)]),
      ],
      verdicts: [],
    };
  },
};

/** Books get another title, which stands in the documents of their authors and publishers, too. */
async function titles(bench: Bench): Promise<Change> {
  const { sql } = await bench.servers(bench.threeIndices);
  const books = `SELECT isbn FROM book ORDER BY isbn LIMIT ${bench.scaled(BOOKS, 100)}`;
  const keys = [
    books,
    `SELECT DISTINCT author_id FROM book_author WHERE book_isbn IN (${books})`,
    `SELECT DISTINCT publisher_id FROM book WHERE publisher_id IS NOT NULL AND isbn IN (${books})`,
  ];
  const documents: number[] = [];
  for (const query of keys) {
    const [row] = await sql.unsafe<{ count: number }[]>(`SELECT count(*)::int FROM (${query}) AS keys`);
    documents.push(row?.count ?? 0);
  }
  const title = (value: number) => `Title number ${value}`;
  return {
    name: CHANGE_CASE,
    documents,
    keys,
    async commit({ sql }, value) {
      await sql.unsafe(`UPDATE book SET title = '${title(value)}' WHERE isbn IN (${books})`);
    },
    queries: (value) => [
      { term: { "title.keyword": title(value) } },
      { term: { "books.title.keyword": title(value) } },
      { term: { "books.title.keyword": title(value) } },
    ],
    python: false,
  };
}
