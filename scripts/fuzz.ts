/**
 * `deno task test:fuzz`: random schemas and random work against real servers, all documents compared with the oracle
 * (docs/correctness.md). A failure prints its seed and the smallest history it can be shrunk to. The last line is
 * `N runs, M steps, D differences`; exits with 1 where there is a difference.
 */
import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import { resolve } from "node:path";
import process from "node:process";
import { fuzz, type FuzzResult, type FuzzRun, printFailure, shrinkFailure } from "../tests/fuzz/fuzz.ts";
import type { TrialServers } from "../tests/fuzz/stage.ts";
import { stepsOf } from "../tests/fuzz/work.ts";
import { makeWorld } from "../tests/fuzz/world_generator.ts";
import { build } from "./build.ts";
import { startElasticsearch } from "./servers/elasticsearch.ts";
import { type PostgresMajor, startPostgres } from "./servers/postgres.ts";
import { runScript } from "./servers/process.ts";
import { progressView } from "./servers/progress.ts";

const MAJORS: readonly PostgresMajor[] = [13, 14, 15, 16, 17, 18];

const COUNTS = [
  ...["statements", "failed", "effective", "documents"] as const,
  ...["kills", "killsAfterDdl", "killsInComparison", "slotsGivenUp"] as const,
];

/** Transactions of more than the least memory are spilled to disk, as large ones are. */
const SETTINGS = { logical_decoding_work_mem: "64kB", max_replication_slots: "100", max_wal_senders: "100" };

/** With 512, seed 767026 of a long series was refused by the engine's circuit breaker (429). */
const SEARCH_HEAP_MB = 1024;

function count(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new InvalidArgumentError("It must be a whole number.");
}

/** `17`, `15,17` or `13..18`. */
function majors(text: string): readonly PostgresMajor[] {
  const [from, to] = text.split("..").map(Number);
  const chosen = text.includes("..")
    ? MAJORS.filter((major) => major >= (from ?? 0) && major <= (to ?? 0))
    : MAJORS.filter((major) => text.split(",").map(Number).includes(major));
  if (chosen.length > 0) return chosen;
  throw new InvalidArgumentError("It must be 17, 15,17 or 13..18.");
}

const command = new Command("task test:fuzz")
  .description("Random schemas and random work, all documents compared with the oracle.")
  .option("--seed <number>", "of the first run; each further one has the next", count, Date.now() % 1_000_000)
  .option("--runs <number>", "how many", count, 10)
  .option("--steps <number>", "transactions and single statements in each run", count, 200)
  .option("--kill", "the run is a process that is killed at random moments")
  .option("--no-ddl", "no tables are altered, and no partitions come and go")
  .option("--pg <majors>", "of PostgreSQL: 17, 15,17 or 13..18; each has all runs", majors, [17] as const)
  .option("--jobs <number>", "runs side by side", count, 2)
  .option("--executable <path>", "what --kill kills (default: dist/pgsync, built first)")
  .option("--from-sources", "--kill kills the sources, under Deno")
  .option("--shrink <seconds>", "how long to search for the smallest history of a failure", count, 300)
  .option("--verbose", "a line for each run");

await runScript(async (interrupted) => {
  const options = command.parse(process.argv).opts();
  const executable = options.kill !== true || options.fromSources === true
    ? null
    : resolve(options.executable ?? await build());
  const searchUrl = process.env["PGSYNC_TEST_ELASTICSEARCH"] ||
    (await started((progress) => startElasticsearch({ heapMb: SEARCH_HEAP_MB, ...progress }))).url;
  const total = {
    ...{ runs: 0, steps: 0, differences: 0, faults: 0 },
    ...{ statements: 0, failed: 0, effective: 0, documents: 0 },
    ...{ kills: 0, killsAfterDdl: 0, killsInComparison: 0, slotsGivenUp: 0 },
  };

  for (const major of options.pg) {
    const postgresUrl = process.env[`PGSYNC_TEST_POSTGRES_${major}`] ||
      (await started((progress) => startPostgres({ major, settings: SETTINGS, ...progress }))).url;
    const start = Date.now();
    const failures: { readonly run: FuzzRun; readonly result: FuzzResult }[] = [];
    const servers: TrialServers = { postgresUrl, searchUrl };
    let next = options.seed;
    const work = async () => {
      while (next < options.seed + options.runs && !interrupted.aborted) {
        const run = runOf(next++, major, servers);
        const runStart = Date.now();
        const result = await judged(run);
        if (result === null) continue;
        total.runs++;
        total.steps += stepsOf(result.history);
        for (const name of COUNTS) total[name] += result.counts[name];
        if (result.difference !== null) {
          failures.push({ run, result });
          console.log(`seed ${run.seed}, PostgreSQL ${major}: ${result.difference.text}`);
        }
        if (options.verbose === true) console.log(line(run, result, Date.now() - runStart));
      }
    };
    await Promise.all(Array.from({ length: Math.max(1, options.jobs) }, work));
    const seconds = (Date.now() - start) / 1000;
    console.log(
      `PostgreSQL ${major}: seeds ${options.seed} to ${next - 1}, ${failures.length} with a difference, ` +
        `${seconds.toFixed(0)} s (${(seconds / Math.max(1, options.runs)).toFixed(1)} s a run)`,
    );
    total.differences += failures.length;
    // Alone, so that nothing else decides the timing.
    for (const { run, result } of failures) {
      const until = Date.now() + options.shrink * 1000;
      const goOn = () => Date.now() < until && !interrupted.aborted;
      const small = await shrinkFailure(run, result, { goOn, log: (text) => console.error(text) });
      console.log(`\nPostgreSQL ${major}, ${printFailure(run, small)}\n`);
    }
  }
  console.log(
    `${total.statements} statements (${percent(total.failed, total.statements)} failed, ` +
      `${percent(total.effective, total.statements)} changed rows), ` +
      `${total.kills} kills (${total.killsAfterDdl} after tables were altered, ` +
      `${total.killsInComparison} while all documents were mapped or compared anew), ` +
      `${total.slotsGivenUp} slots given up that PostgreSQL could not decode for, ` +
      `${total.documents} documents compared`,
  );
  const { runs, steps, differences } = total;
  process.on("exit", () => console.log(`${runs} runs, ${steps} steps, ${differences} differences`));
  if (total.faults > 0) console.log(`${total.faults} trials could not be carried out`);
  return differences === 0 && total.faults === 0 ? 0 : 1;

  async function judged(run: FuzzRun): Promise<FuzzResult | null> {
    try {
      return await fuzz(run);
    } catch (error) {
      total.faults++;
      console.error(`seed ${run.seed} could not be carried out:`, error);
      return null;
    }
  }

  function runOf(seed: number, major: number, servers: TrialServers): FuzzRun {
    return {
      seed,
      world: makeWorld(seed),
      steps: options.steps,
      kill: options.kill === true,
      ddl: options.ddl,
      executable,
      servers,
      name: `${process.pid}_${major}_${seed}`,
    };
  }
});

async function started<T>(
  start: (progress: { onProgress: ReturnType<typeof progressView>["bytes"] }) => Promise<T>,
) {
  const view = progressView();
  try {
    return await start({ onProgress: view.bytes });
  } finally {
    view.stop();
  }
}

function line(run: FuzzRun, { counts, difference }: FuzzResult, ms: number): string {
  const { statements, failed, effective, kills, documents, comparisons } = counts;
  return `seed ${run.seed}: ${difference === null ? "equal" : "DIFFERENT"} in ${(ms / 1000).toFixed(1)} s; ` +
    `${statements} statements, ${failed} failed, ${effective} changed rows; ${kills} kills; ` +
    `${documents} documents at ${comparisons} quiet points; ${run.world.traits.join(", ")}`;
}

function percent(part: number, whole: number): string {
  return whole === 0 ? "0 %" : `${Math.round(100 * part / whole)} %`;
}
