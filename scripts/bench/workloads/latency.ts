/** Workload e: how long after its COMMIT a change stands in its document, idle and beside small transactions. */
import { setTimeout as delay } from "node:timers/promises";
import { isbnOf } from "../../../examples/bookshop/rows.ts";
import { alternately, type Bench, type Workload } from "../bench.ts";
import type { Follower, Following } from "../candidates/candidate.ts";
import type { IndexPlan } from "../candidates/pgsync.ts";
import { startPgbench } from "../data/pgbench.ts";
import { difference, type Histogram, histogram, histogramQuantile, sumOf } from "../measure/metrics.ts";
import { quantile } from "../measure/statistics.ts";
import { atMost, figureOf, type Measurement, type Verdict } from "../result.ts";
import type { Servers } from "../servers.ts";
import { CLIENTS } from "./small_transactions.ts";

const CHANGES = 200;
const IDLE = "idle";
const BUSY = "beside small transactions";
const ACKNOWLEDGED = "pgsync_commit_to_acknowledged_seconds";
const STAGES = ["visibility", "impact", "build", "bulk"];
/** Pause between two looks at a document. A look takes about as long, so the result may be late by two milliseconds. */
const LOOK_EVERY_MS = 1;
/** Pause between two changes, so that each finds an idle program. */
const IDLE_MS = 20;
const GIVE_UP_AFTER_MS = 10 * 60_000;
/** The first realtime GET makes Elasticsearch refresh and remember from then on where in its log documents stand. */
const WARM_UP_CHANGES = 20;
/** Until pgbench is at its pace. */
const SETTLE_MS = 2_000;
const A_DAY_S = 86_400;

interface Party {
  readonly name: string;
  readonly index: string;
  /** Starts what follows; null for the floor, which is told of each change. */
  readonly follow: (() => Promise<Following>) | null;
  readonly told?: (isbn: string) => Promise<void>;
}

interface Turn {
  /** Milliseconds from COMMIT's return to the first realtime GET that shows the new value. */
  readonly visible: readonly number[];
  /** Of the floor: milliseconds to the acknowledgement. */
  readonly told: readonly number[];
  /** By the candidate's own histograms: from the commit's time in the WAL to the acknowledgement, and the stages of a batch. */
  readonly acknowledged: Histogram | null;
  readonly stages: readonly Histogram[];
}

export const latency: Workload = {
  letter: "e",
  name: "latency",
  title: "From COMMIT to the document",
  async run(bench) {
    const dataset = bench.bookshop;
    const servers = await bench.servers(dataset);
    const pgsync = bench.pgsync(servers, dataset);
    const floor = await bench.floor(servers, pgsync);
    await bench.load(servers, floor, dataset, "load");
    await floor.refreshAsUsual();
    await bench.load(servers, pgsync, dataset, "load");
    const [plan] = await pgsync.plan();
    const [index = ""] = floor.indices;
    if (plan === undefined) throw new Error("pgsync plans no index");
    const told = (isbn: string) => writeOne(servers, plan, index, isbn);
    const parties: Party[] = [{ name: floor.name, index, follow: null, told }, partyOf(pgsync)];
    const measurements: Measurement[] = [];
    for (const name of [IDLE, BUSY]) {
      measurements.push(...await turns(bench, servers, parties, name, bench.options.rounds));
    }
    await pgsync.clear();
    await floor.clear();
    const python = bench.python(servers, dataset);
    if (python !== null) {
      await bench.load(servers, python, dataset, "load");
      measurements.push(...await turns(bench, servers, [partyOf(python)], IDLE, bench.options.pythonRounds));
      await python.clear();
    }
    return { measurements, verdicts: verdicts(measurements) };
  },
};

function partyOf(follower: Follower): Party {
  return { name: follower.name, index: follower.indices[0] ?? "", follow: () => follower.follow() };
}

async function turns(
  bench: Bench,
  servers: Servers,
  parties: readonly Party[],
  name: string,
  rounds: number,
): Promise<Measurement[]> {
  const changes = Math.max(5, Math.ceil(bench.scaled(CHANGES) / rounds));
  const results = await alternately(parties, rounds, async (party, round) => {
    const following = await party.follow?.() ?? null;
    const pgbench = name === IDLE
      ? null
      : await startPgbench(servers, { clients: CLIENTS, seconds: A_DAY_S });
    if (pgbench !== null) await delay(SETTLE_MS);
    const turn = await oneTurn(servers, party, following, round * 1_000, changes);
    await pgbench?.stop();
    await following?.stop();
    bench.options.log(
      `${name}, round ${round}: ${party.name} p50 ${quantile(turn.visible, 0.5).toFixed(1)} ms`,
    );
    return turn;
  });
  return results.map(([party, found]) => ({ case: name, candidate: party.name, figures: figuresOf(found) }));
}

/** Changes the price of one book after the other, each when the one before has arrived. */
async function oneTurn(
  { sql, search }: Servers,
  { index, told }: Party,
  following: Following | null,
  first: number,
  changes: number,
): Promise<Turn> {
  const change = async (number: number) => {
    const isbn = isbnOf(number % 1_000);
    // Never a price that the book has: those of the generator have two decimals that are not 01 to 49.
    const price = `${100 + number}.${number % 2 === 0 ? "11" : "12"}`;
    await sql`UPDATE book SET price = ${price} WHERE isbn = ${isbn}`;
    const committed = performance.now();
    // Not waited for: what is written is seen before it is acknowledged.
    const telling = told?.(isbn).then(() => performance.now() - committed);
    while (await search.text(index, isbn, "price") !== price) {
      if (performance.now() - committed > GIVE_UP_AFTER_MS) {
        throw new Error("a change did not arrive in time");
      }
      await delay(LOOK_EVERY_MS);
    }
    const seen = performance.now() - committed;
    return { visible: seen, told: await telling };
  };
  for (let number = 0; number < WARM_UP_CHANGES; number++) await change(first + number);
  const before = await following?.metrics();
  const [visible, acknowledgements]: [number[], number[]] = [[], []];
  for (let number = 0; number < changes; number++) {
    await delay(IDLE_MS);
    const times = await change(first + WARM_UP_CHANGES + number);
    visible.push(times.visible);
    if (times.told !== undefined) acknowledgements.push(times.told);
  }
  const after = await following?.metrics();
  if (typeof before !== "string" || typeof after !== "string") {
    return { visible, told: acknowledgements, acknowledged: null, stages: [] };
  }
  const since = (metric: string, labels?: string) =>
    difference(histogram(after, metric, labels), histogram(before, metric, labels));
  const stage = (label: string) => since("pgsync_batch_stage_duration_seconds", `stage="${label}"`);
  return { visible, told: [], acknowledged: since(ACKNOWLEDGED), stages: STAGES.map(stage) };
}

/** As pgsync makes one document, but without having to find out which. */
async function writeOne(
  { sql, search }: Servers,
  plan: IndexPlan,
  index: string,
  isbn: string,
): Promise<void> {
  const [row] = await sql.unsafe<{ id: string; document: string }[]>(plan.keysSql, [[isbn]], {
    prepare: true,
  });
  if (row === undefined) throw new Error(`there is no book ${isbn}`);
  await search.bulk(index, `{"index":{"_id":${JSON.stringify(row.id)}}}\n${row.document}\n`);
}

function figuresOf(turns: readonly Turn[]): Record<string, number> {
  const visible = turns.flatMap((turn) => turn.visible);
  const quantiles = (what: string, of: (share: number) => number) =>
    [0.5, 0.95, 0.99].map((share): [string, number] => [`${what} p${share * 100}, ms`, of(share)]);
  const sum = sumOf(turns.flatMap(({ acknowledged }) => acknowledged ?? []));
  const stages = STAGES.map((stage, place): [string, number] => {
    const each = sumOf(turns.flatMap(({ stages }) => stages[place] ?? []));
    return [`${stage} mean, ms`, each.sum / each.count * 1_000];
  });
  const figures: [string, number][] = [
    ...quantiles("visible", (share) => quantile(visible, share)),
    ...quantiles(
      "acknowledged",
      (share) =>
        sum.count > 0
          ? histogramQuantile(sum, share) * 1_000
          : quantile(turns.flatMap(({ told }) => told), share),
    ),
    ...stages,
  ];
  // Of PGSync nothing is known but what is seen from outside.
  return Object.fromEntries(figures.filter(([, value]) => !Number.isNaN(value)));
}

function verdicts(measurements: readonly Measurement[]): Verdict[] {
  const of = (name: string, figure: string) => figureOf(measurements, name, "pgsync", figure);
  return [
    ...atMost("idle, commit → acknowledged: p50 at most 12 ms", of(IDLE, "acknowledged p50, ms"), 12, " ms"),
    ...atMost("idle, commit → acknowledged: p99 at most 50 ms", of(IDLE, "acknowledged p99, ms"), 50, " ms"),
    ...atMost("beside small transactions: p99 at most 500 ms", of(BUSY, "acknowledged p99, ms"), 500, " ms"),
  ];
}
