/** Workload g: a slot full of changes to tables and columns that no document uses. */
import { alternately, type Bench, type Workload } from "../bench.ts";
import { RecvLogical } from "../candidates/recvlogical.ts";
import { unusedParts } from "../data/plain.ts";
import type { Cost } from "../measure/run.ts";
import { median } from "../measure/statistics.ts";
import { atLeast, figureOf, type Measurement, ratio, work } from "../result.ts";
import type { Servers } from "../servers.ts";

const ITEMS = 200_000;
/** Rows of one transaction. */
const PORTION = 10_000;

/** What fills the slot. */
interface Filling {
  readonly name: string;
  readonly rows: number;
  /** @param first the number of the portion's first row @param last that of its last */
  readonly statement: (first: number, last: number) => string;
}

/** The columns that no document uses are in the same rows again and again. */
const FILLINGS: readonly Filling[] = [
  {
    name: "unused table",
    rows: 2_000_000,
    statement: (first, last) =>
      `INSERT INTO audit (entry) SELECT 'entry ' || number FROM generate_series(${first}, ${last}) AS number`,
  },
  {
    name: "unused column of a child",
    rows: 1_000_000,
    statement: (first, last) => `UPDATE part SET remark = 'at ' || ${first} WHERE ${within(first, last)}`,
  },
  {
    name: "unused column of the root",
    rows: 200_000,
    statement: (first, last) => `UPDATE item SET remark = 'at ' || ${first} WHERE ${within(first, last)}`,
  },
];

/** Without what it takes to start, and to end, with nothing to read. */
const STREAMING = "while it streams, rows/s";

/** Somebody with a slot of its own. */
interface Reader {
  readonly name: string;
  read(end: string): Promise<Cost>;
}

export const unusedChanges: Workload = {
  letter: "g",
  name: "unused",
  title: "A slot full of changes that no document uses",
  async run(bench) {
    // Rows come again after so many: no fewer than a portion.
    const dataset = unusedParts(bench.scaled(ITEMS, PORTION));
    const servers = await bench.servers(dataset);
    const pgsync = bench.pgsync(servers, dataset);
    await bench.load(servers, pgsync, dataset, "load");
    const recv = new RecvLogical(servers, `pgsync_${dataset.name}`);
    await recv.begin();
    const readers: Reader[] = [recv, { name: pgsync.name, read: () => pgsync.catchUp() }];
    const idle = await alternately(
      readers,
      bench.options.rounds,
      async (reader) => (await reader.read(await position(servers))).seconds,
    );
    const idleSeconds = new Map(idle.map(([{ name }, seconds]) => [name, median(seconds)]));
    const measurements: Measurement[] = [];
    for (const filling of FILLINGS) {
      for (const found of await drain(bench, servers, filling, readers, dataset.documents[0] ?? 0)) {
        const seconds = (found.work?.median.seconds ?? NaN) - (idleSeconds.get(found.candidate) ?? 0);
        measurements.push({ ...found, figures: { [STREAMING]: (found.work?.units ?? NaN) / seconds } });
      }
    }
    await pgsync.verify();
    await recv.clear();
    await pgsync.clear();
    await bench.drop(dataset);
    return {
      measurements,
      verdicts: FILLINGS.flatMap(({ name }) => {
        const [theirs, ours] = [recv.name, pgsync.name].map((reader) =>
          figureOf(measurements, name, reader, STREAMING)
        );
        return atLeast(`${name}: at least 0.95 of pg_recvlogical's rows/s`, ratio(ours, theirs), 0.95, " ×");
      }),
    };
  },
};

/** Fills both slots at once, and has them read in turn. */
async function drain(
  bench: Bench,
  servers: Servers,
  filling: Filling,
  readers: readonly Reader[],
  items: number,
): Promise<Measurement[]> {
  const portions = Math.ceil(bench.scaled(filling.rows, PORTION) / PORTION);
  const rows = portions * PORTION;
  let filled = 0;
  let end = "";
  const results = await alternately(readers, bench.options.rounds, async (reader, round) => {
    if (filled < round) {
      for (let portion = 0; portion < portions; portion++) {
        const first = portion * PORTION % (items - items % PORTION) + 1;
        await servers.sql.unsafe(filling.statement(first, first + PORTION - 1));
      }
      filled = round;
      end = await position(servers);
    }
    const cost = await reader.read(end);
    bench.tell(`${filling.name}, round ${round}`, reader.name, rows, cost);
    return cost;
  });
  return results.map(([{ name }, costs]) => ({
    case: filling.name,
    candidate: name,
    work: work("rows", rows, costs),
  }));
}

/** A position that the stream passes: that of a transaction that is written now. */
async function position({ sql }: Servers): Promise<string> {
  const [row] = await sql<{ lsn: string }[]>`SELECT pg_current_wal_insert_lsn()::text AS lsn`;
  await sql`SELECT pg_logical_emit_message(true, 'bench', '')`;
  if (row === undefined) throw new Error("PostgreSQL tells no position");
  return row.lsn;
}

function within(first: number, last: number): string {
  return `id BETWEEN ${first} AND ${last}`;
}
