/** Workload: how long after its COMMIT a change stands in its document, while nothing else happens. */
import { setTimeout as delay } from "node:timers/promises";
import { isbnOf } from "../../../examples/bookshop/rows.ts";
import type { Daemon } from "../candidates/daemon.ts";
import { difference, histogram, histogramQuantile } from "../measure/metrics.ts";
import { quantile } from "../measure/statistics.ts";
import { memoryOf } from "../measure/usage.ts";
import type { Servers } from "../servers.ts";

/** Milliseconds, but `idleRss` (bytes). */
export interface LatencyResult {
  readonly changes: number;
  /** From COMMIT's return to the first realtime GET that shows the new value. */
  readonly visible: Quantiles;
  /** By the program's own histogram: from the commit's time in the WAL to the acknowledgement. */
  readonly acknowledged: Quantiles;
  /** Mean of each stage of a batch, by the program's own histograms. */
  readonly stages: Readonly<Record<string, number>>;
  /** Of the idle program, before the changes. */
  readonly idleRss: number;
}

interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

const STAGES = ["visibility", "impact", "build", "bulk"];
/** Pause between two looks at a document. A look takes about as long, so the result may be late by two milliseconds. */
const LOOK_EVERY_MS = 1;
/** Pause between two changes, so that each finds an idle program. */
const IDLE_MS = 20;
const GIVE_UP_AFTER_MS = 30_000;
/** The first realtime GET makes Elasticsearch refresh and remember from then on where in its log documents stand. */
const WARM_UP_CHANGES = 20;

/** Changes the price of one book after the other, each when the one before has arrived. */
export async function latency(
  servers: Servers,
  daemon: Daemon,
  options: { readonly index: string; readonly books: number; readonly changes: number },
): Promise<LatencyResult> {
  const idleRss = memoryOf(daemon.pid)?.resident ?? NaN;
  const book = pseudoRandom(options.books);
  const change = async (number: number) => {
    const isbn = isbnOf(book());
    // Never a price that the book has: those of the generator have two decimals that are not 01 to 49.
    const price = `${100 + number}.${number % 2 === 0 ? "11" : "12"}`;
    await servers.sql`UPDATE book SET price = ${price} WHERE isbn = ${isbn}`;
    const committed = performance.now();
    while (await servers.search.text(options.index, isbn, "price") !== price) {
      if (performance.now() - committed > GIVE_UP_AFTER_MS) {
        throw new Error(`a change did not arrive within ${GIVE_UP_AFTER_MS / 1000} s`);
      }
      await delay(LOOK_EVERY_MS);
    }
    return performance.now() - committed;
  };
  for (let number = 0; number < WARM_UP_CHANGES; number++) await change(number);
  const before = await daemon.metrics();
  const times: number[] = [];
  for (let number = 0; number < options.changes; number++) {
    await delay(IDLE_MS);
    times.push(await change(WARM_UP_CHANGES + number));
  }
  const after = await daemon.metrics();
  const since = (name: string, labels?: string) =>
    difference(histogram(after, name, labels), histogram(before, name, labels));
  const own = since("pgsync_commit_to_acknowledged_seconds");
  const stages = STAGES.map((stage) => {
    const { sum, count } = since("pgsync_batch_stage_duration_seconds", `stage="${stage}"`);
    return [stage, sum / count * 1000];
  });
  return {
    changes: times.length,
    visible: quantiles((share) => quantile(times, share)),
    acknowledged: quantiles((share) => histogramQuantile(own, share) * 1000),
    stages: Object.fromEntries(stages),
    idleRss,
  };
}

function quantiles(of: (share: number) => number): Quantiles {
  return { p50: of(0.5), p95: of(0.95), p99: of(0.99) };
}

/** The same numbers below `limit` in every run; enough chance to hit other pages each time. */
function pseudoRandom(limit: number): () => number {
  let state = 42;
  // Numerical Recipes' linear congruential generator.
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) % limit;
}
