/** One run of the fuzz: a world and a history from a seed, a trial, and, where it fails, the smallest history that does. */
import { shrinkHistory } from "./shrink_history.ts";
import type { TrialServers } from "./stage.ts";
import { carryOut, type Difference, type TrialResult } from "./trial.ts";
import { makeHistory } from "./work_generator.ts";
import { type History, printHistory, statementsOf, stepsOf } from "./work.ts";
import type { World } from "./world.ts";

/** What a run is made of. */
export interface FuzzRun {
  readonly seed: number;
  readonly world: World;
  readonly steps: number;
  readonly kill: boolean;
  readonly ddl: boolean;
  /** What is killed; null: the sources. */
  readonly executable: string | null;
  readonly servers: TrialServers;
  /** A word for names on the servers, nobody else's at the same time. */
  readonly name: string;
}

/** How a run ended. */
export interface FuzzResult extends TrialResult {
  readonly history: History;
}

/** Carries a run out. @throws TrialFault where the trial itself is at fault */
export async function fuzz(run: FuzzRun): Promise<FuzzResult> {
  const history = makeHistory(run.world, run.seed, { steps: run.steps, ddl: run.ddl });
  return { history, ...await carryOut(run.world, history, { ...run }) };
}

/** How a failure is shrunk. */
export interface ShrinkOptions {
  /** Ends the search; what is found by then counts. */
  readonly goOn: () => boolean;
  readonly log: (line: string) => void;
}

/** A failure as small as it could be made. */
export interface SmallFailure {
  readonly history: History;
  readonly difference: Difference;
  readonly documents: readonly number[] | null;
}

/** Searches the smallest history with which a failed run still fails, each candidate on a fresh database, slot and index. */
export async function shrinkFailure(
  run: FuzzRun,
  result: FuzzResult,
  { goOn, log }: ShrinkOptions,
): Promise<SmallFailure> {
  const { difference } = result;
  if (difference === null) throw new RangeError("the run did not fail");
  const rounds = result.history.rounds.slice(0, Math.max(0, difference.round) + 1);
  let smallest: SmallFailure = { history: { ...result.history, rounds }, difference, documents: null };
  let trials = 0;
  const once = async (history: History, documents: readonly number[] | null): Promise<boolean> => {
    const name = `${run.name}_${++trials}`;
    const { difference: found } = await carryOut(run.world, history, { ...run, name, documents });
    if (found === null) return false;
    smallest = { history, difference: found, documents };
    return true;
  };
  // One document is easier to read than many.
  const only = difference.document === null ? null : [difference.document];
  const documents = only !== null && await once(smallest.history, only) ? only : null;
  let repeats = 1;
  for (let tries = 0; tries < 2; tries++) if (!(await once(smallest.history, documents))) repeats = 3;
  const fails = async (history: History): Promise<boolean> => {
    for (let tries = 0; tries < repeats; tries++) {
      if (!(await once(history, documents))) continue;
      log(`  ${stepsOf(history)} steps, ${statementsOf(history)} statements, after ${trials} trials`);
      return true;
    }
    return false;
  };
  await shrinkHistory(smallest.history, fails, goOn);
  return smallest;
}

/** A failure as text: how to have it again, the difference, the world, and the history. */
export function printFailure(run: FuzzRun, failure: SmallFailure): string {
  const { history, difference, documents } = failure;
  const schema: unknown = run.world.schema("<database>", (place) => `index_${place}`);
  const kept = Array.isArray(schema) && documents !== null
    ? documents.map((place): unknown => schema[place])
    : schema;
  return [
    `seed ${run.seed}, ${run.steps} steps${run.kill ? ", --kill" : ""}${run.ddl ? "" : ", --no-ddl"}; ` +
    `shrunk to ${stepsOf(history)} steps with ${statementsOf(history)} statements`,
    difference.text,
    "",
    "-- the world",
    ...run.world.ddl.map((statement) => `${statement};`),
    `-- the schema file: ${JSON.stringify(kept)}`,
    "",
    printHistory(history),
  ].join("\n");
}
