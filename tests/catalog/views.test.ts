import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import postgres from "postgres";
import { readCatalog } from "../../src/catalog/read.ts";
import type { Relation } from "../../src/catalog/types.ts";
import { between, pick, seededRandom } from "../support/random.ts";
import { ownPostgres, type TestDatabase, usePostgres } from "../support/postgres.ts";

const TABLES = `
  create table b (id int primary key, k int, n numeric, x text, c_id int);
  create table c (id int primary key, b_id int, y text);
  create table part (id int, k int, primary key (id, k)) partition by list (k);
  create table part_1 partition of part for values in (1);
  create table part_2 partition of part for values in (2, 3);
  create table ruled (id int primary key, k int);
  alter table ruled enable row level security;
  create unlogged table fleeting (id int primary key, k int);
  create view below as select k, count(*) as n from b group by k;
  create view below_c as select b_id, y from c;
  create materialized view kept as select k, count(*) as n from b group by k;
  create materialized view kept_twice as select k, n from kept;
  create function total() returns bigint language sql stable as 'select count(*) from public.b';
  create function plain(text) returns text language sql immutable as 'select upper($1)';
  create function moody(int, int) returns boolean language plpgsql stable as 'begin return $1 = $2; end';
  create operator public.=~= (leftarg = int, rightarg = int, function = moody);
`;

/** What each table passes on, as `table(view column=table column)`; nothing where its rows may touch any view row. */
const VIEWS: readonly { readonly sql: string; readonly passes: Readonly<Record<string, string>> }[] = [
  { sql: "select id, k, x from b", passes: { b: "id=id k=k x=x" } },
  { sql: "select b.k as link, upper(x) as x from b where n > 0", passes: { b: "link=k" } },
  {
    sql: "select b.*, c.y from b join c on c.id = b.c_id",
    passes: { b: "id=id k=k n=n x=x c_id=c_id", c: "y=y" },
  },
  { sql: "select b.id, c.id as c from b left join c on c.b_id = b.id", passes: { b: "id=id", c: "c=id" } },
  { sql: "select b.k, c.b_id from b full join c on c.b_id = b.id", passes: { b: "k=k", c: "b_id=b_id" } },
  {
    sql: "select k, c.y from b full join (select b_id as k, y from c) c using (k)",
    passes: { b: "", c: "y=y" },
  },
  { sql: "select k, count(*) as n, sum(n) as s from b group by k", passes: { b: "k=k" } },
  { sql: "select id, x, k, count(*) over () as n from b", passes: { b: "" } },
  { sql: "select k, sum(n) as n from b group by rollup (k)", passes: { b: "" } },
  {
    sql: "select b.id, b.x, count(c.id) as n from b left join c on c.b_id = b.id group by b.id",
    passes: { b: "id=id x=x", c: "" },
  },
  {
    sql: "select s.k, s.n from (select k, count(*) as n from b group by k having count(*) > 1) s",
    passes: { b: "k=k" },
  },
  { sql: "select distinct k from b", passes: { b: "k=k" } },
  { sql: "select distinct on (x) k, x from b order by x, id", passes: { b: "" } },
  { sql: "select id, k from b order by id limit 3", passes: { b: "" } },
  { sql: "select id, k from b order by id offset 1", passes: { b: "" } },
  { sql: "select s.id, s.k from (select * from b order by id limit 2) s", passes: { b: "" } },
  { sql: "select id, k from b union select b_id, id from c", passes: { b: "", c: "" } },
  { sql: "select s.id from (select id from b union all select b_id from c) s", passes: { b: "", c: "" } },
  { sql: "select b1.id, b2.id as other from b b1 join b b2 on b1.k = b2.k", passes: { b: "" } },
  { sql: "select id, k, (select count(*) from b) as n from b", passes: { b: "" } },
  {
    sql: "with s as (select * from b) select s.k, (select count(*) from s t) as n from s",
    passes: { b: "" },
  },
  {
    sql:
      "with s as (select b_id, count(*) as n from c group by b_id) select b.id, s.n from b left join s on s.b_id = b.id",
    passes: { b: "id=id", c: "" },
  },
  {
    sql:
      "with recursive s(id) as (select id from b union all select s.id + 1 from s where s.id < 3) select id from s",
    passes: { b: "" },
  },
  {
    sql: "select c.id from c where exists (select from b where b.id = c.b_id)",
    passes: { b: "", c: "id=id" },
  },
  {
    sql: "select c.id from c where not exists (select from b where b.id = c.b_id)",
    passes: { b: "", c: "id=id" },
  },
  {
    sql: "select b.id, (select y from c where c.b_id = b.id order by c.id limit 1) as y from b",
    passes: { b: "id=id", c: "" },
  },
  {
    sql:
      "select c.id, l.k, l.n from c cross join lateral (select k, count(*) as n from b where b.id = c.b_id group by k) l",
    passes: { b: "k=k", c: "id=id" },
  },
  { sql: "select b, k from b", passes: { b: "k=k" } },
  { sql: "select k, generate_series(1, 2) as g from b", passes: { b: "" } },
  { sql: "select k from b tablesample bernoulli (100) repeatable (1)", passes: { b: "" } },
  { sql: "select k, total() as n from b", passes: { b: "" } },
  { sql: "select k, plain(x) as x from b", passes: { b: "k=k" } },
  { sql: "select b.k, c.y from b join c on b.id operator(public.=~=) c.b_id", passes: { b: "", c: "" } },
  { sql: "select k, query_to_xml('select * from b', true, true, '') as all_of_it from b", passes: { b: "" } },
  { sql: "select k, random() as r from b", passes: { b: "" } },
  { sql: "select k, now() as seen from b", passes: { b: "k=k" } },
  { sql: "select k, n from below", passes: { b: "" } },
  { sql: "select b.k, below.n from b cross join below", passes: { b: "" } },
  {
    sql: "select b.id, below_c.y from b left join below_c on below_c.b_id = b.id",
    passes: { b: "id=id", c: "" },
  },
  { sql: "select b.k, kept.n from b join kept on kept.k = b.k", passes: { b: "k=k" } },
  { sql: "select k, n from kept_twice", passes: {} },
  { sql: "select id, k from part", passes: { part: "id=id k=k" } },
  { sql: "select id, k from part_1", passes: { part: "" } },
  { sql: "select part.id, (select count(*) from part_1) as n from part", passes: { part: "" } },
  { sql: "select id, k from ruled", passes: { ruled: "id=id k=k" } },
  { sql: "select b.id, ruled.k from b join ruled using (id)", passes: { b: "id=id", ruled: "k=k" } },
  { sql: "select id, k from fleeting", passes: { fleeting: "" } },
  { sql: "select b.k, v.n from b, (values (1), (2)) v(n)", passes: { b: "k=k" } },
  { sql: "select count(*) as n from b", passes: { b: "" } },
];

for (const major of [13, 15, 17, 18] as const) {
  describe(`what views read, PostgreSQL ${major}`, () => {
    let database: TestDatabase | null = null;
    let sql: postgres.Sql;
    before(async () => {
      if (major === 15 || major === 17) database = await (await usePostgres(major)).createDatabase();
      const url = database?.url ?? (await ownPostgres({ major })).url;
      sql = postgres(url, { max: 1, onnotice: () => {} });
      await sql.unsafe(TABLES);
      for (const [at, view] of VIEWS.entries()) await sql.unsafe(`create view v${at} as ${view.sql}`);
    });
    after(async () => {
      await sql.end();
      await database?.drop();
    });

    const readViews = async (names: readonly string[]): Promise<Relation[]> => {
      const catalog = await readCatalog(sql, names.map((table) => ({ schema: "public", table })));
      return names.map((table) => {
        const found = catalog.relation({ schema: "public", table });
        assert.ok(found !== null);
        return found;
      });
    };

    it("which columns a table passes on, so that its rows touch only those of their values", async () => {
      const relations = await readViews(VIEWS.map((_, at) => `v${at}`));
      for (const [at, { sql: query, passes }] of VIEWS.entries()) {
        const tables = relations[at]?.view?.tables ?? [];
        const found = tables.map((table) => [
          table.table,
          [...table.passed].map(([from, to]) => `${from}=${to}`).join(" "),
        ]);
        assert.deepEqual(Object.fromEntries(found), passes, query);
      }
    });

    it("a changed row touches only the view rows that hold its old or new values", async () => {
      const seed = Date.now() % 1_000_000;
      const random = seededRandom(seed);
      // What shows the time differs from look to look.
      const views = VIEWS.map(({ sql: query, passes }, at) => ({ view: `v${at}`, query, passes }))
        .filter(({ query, passes }) =>
          !query.includes("now()") && Object.values(passes).some((columns) => columns !== "")
        );
      const value = (most: number) =>
        between(random, 0, 5) === 0 ? "null::int" : String(between(random, 1, most));
      const numeric = () => pick(random, ["1", "1.0", "2", "null::numeric"]);
      const values: Record<string, () => string> = {
        b: () => `${value(4)}, ${numeric()}, ${pick(random, ["'a'", "'b'", "null"])}, ${value(9)}`,
        c: () => `${value(9)}, ${pick(random, ["'a'", "'b'", "null"])}`,
        part: () => String(between(random, 1, 3)),
      };
      const columns: Record<string, string> = { b: "k, n, x, c_id", c: "b_id, y", part: "k" };
      const change = (table: string): string => {
        const id = between(random, 1, 9);
        const list = values[table]?.() ?? "";
        const insert = `insert into ${table} (id, ${columns[table]}) select ${id}, ${list}
          where not exists (select from ${table} where id = ${id})`;
        const update = `update ${table} set (id, ${columns[table]}) = (select ${
          pick(random, [id, id + 9])
        }, ${list}) where id = ${id} and not exists (select from ${table} where id = ${id + 9})`;
        return pick(random, [insert, insert, update, update, `delete from ${table} where id = ${id}`]);
      };
      const read = async (view: string): Promise<{ text: string; row: Record<string, unknown> }[]> => {
        const rows = await sql.unsafe<{ text: string }[]>(`select to_jsonb(v)::text as text from ${view} v`);
        return rows.map(({ text }) => ({ text, row: JSON.parse(text) }));
      };
      await sql.unsafe("truncate b, c, part");
      for (let step = 0; step < 150; step++) {
        const table = pick(random, ["b", "b", "c", "part"]);
        const concerned = views.filter(({ passes }) => (passes[table] ?? "") !== "");
        const tell = async () => (await read(table)).map(({ text }) => text);
        const [rows, before] = [await tell(), await Promise.all(concerned.map(({ view }) => read(view)))];
        const statement = change(table);
        await sql.unsafe(statement);
        const [now, after] = [await tell(), await Promise.all(concerned.map(({ view }) => read(view)))];
        const changed = [...new Set(rows).symmetricDifference(new Set(now))].map((text) => JSON.parse(text));
        for (const [at, { query, passes }] of concerned.entries()) {
          const touched = difference(before[at] ?? [], after[at] ?? []);
          for (const pair of (passes[table] ?? "").split(" ")) {
            const [from = "", to = ""] = pair.split("=");
            const held = new Set([null, ...changed.map((row) => row[to])]);
            for (const { row, text } of touched) {
              assert.ok(
                held.has(row[from]),
                `seed ${seed}: ${statement} touched ${text} of ${query}, not by ${pair}`,
              );
            }
          }
        }
      }
    });

    it("which columns of the tables it uses", async () => {
      const used = async (query: string) => {
        await sql.unsafe(`create view used as ${query}`);
        const [view] = await readViews(["used"]);
        await sql.unsafe("drop view used");
        return Object.fromEntries((view?.view?.tables ?? []).map((table) => [table.table, table.used]));
      };
      assert.deepEqual(await used("select b.k from b join c on c.b_id = b.id where x > ''"), {
        b: ["id", "k", "x"],
        c: ["b_id"],
      });
      assert.deepEqual(await used("select count(*) from b"), { b: [] });
      assert.deepEqual(await used("select b from b"), { b: null });
      assert.deepEqual(await used("select id, xmin, ctid from b"), { b: ["ctid", "id", "xmin"] });
      assert.deepEqual(await used("select n from below"), { b: ["k"] });
    });

    it("whether it depends on the time", async () => {
      for (
        const [expression, depends] of [
          ["now()", true],
          ["current_date", true],
          ["localtimestamp(0)", true],
          ["clock_timestamp()", true],
          ["age('2020-01-01'::timestamp)", true],
          ["age('2020-01-01'::timestamp, '2020-01-02')", false],
          ["current_user", false],
          ["'now'", false],
        ] as const
      ) {
        await sql.unsafe(`create view timed as select id from b where ${expression} is not null`);
        await sql.unsafe("create view above as select * from timed");
        const [view] = await readViews(["above"]);
        assert.equal(view?.view?.asksForTime, depends, expression);
        await sql.unsafe("drop view above, timed");
      }
    });

    it("materialised views in the order in which they are refreshed, and what cannot be heard", async () => {
      const [twice, unlogged, opaque] = await readViews(["kept_twice", "v46", "v30"]);
      assert.deepEqual(twice?.view?.materializedViews.map((view) => view.table), ["kept", "kept_twice"]);
      assert.deepEqual(twice?.view?.tables, []);
      assert.deepEqual(unlogged?.view?.tables.map((table) => table.unheard), ["an unlogged table"]);
      assert.deepEqual(opaque?.view?.opaque, ["public.total()"]);
      const [first] = twice?.view?.materializedViews ?? [];
      assert.deepEqual([first?.populated, first?.mayRefresh, first?.concurrently], [true, true, false]);
      assert.deepEqual(twice?.view?.below.map((view) => view.table), ["kept"]);
      await sql.unsafe("create unique index on kept (k)");
      const [again] = await readViews(["kept_twice"]);
      assert.equal(again?.view?.materializedViews[0]?.concurrently, true);
    });
  });
}

/** The rows that are on one side only, as often as they are there more. */
function difference<Row extends { readonly text: string }>(
  before: readonly Row[],
  after: readonly Row[],
): Row[] {
  const counts = new Map<string, { row: Row; count: number }>();
  const add = (row: Row, by: number) => {
    const known = counts.get(row.text) ?? { row, count: 0 };
    known.count += by;
    counts.set(row.text, known);
  };
  for (const row of before) add(row, -1);
  for (const row of after) add(row, 1);
  return [...counts.values()].filter(({ count }) => count !== 0).map(({ row }) => row);
}
