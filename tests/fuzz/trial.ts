/** A trial: a world, a history, and a run of pgsync that follows it, judged by the oracle at every quiet point. */
import { setTimeout as delay } from "node:timers/promises";
import { type Random, randomOf } from "../../examples/bookshop/random.ts";
import { type Found, Stage, type TrialServers } from "./stage.ts";
import type { History } from "./work.ts";
import type { World } from "./world.ts";
import { TrialFault, type WorkCounts } from "./writers.ts";

/** How a trial goes. */
export interface TrialOptions {
  readonly servers: TrialServers;
  /** A word for names on the servers: `[a-z0-9_]`, nobody else's at the same time. */
  readonly name: string;
  /** Decides the sizes of chunks and requests, and the moments of kills. */
  readonly seed: number;
  /** The history alters tables. */
  readonly ddl: boolean;
  /** The run is a process that is killed again and again. */
  readonly kill: boolean;
  /** What is killed; null: the sources. */
  readonly executable: string | null;
  /** Places of the schema file's documents to keep; null: all. */
  readonly documents?: readonly number[] | null;
}

/** How a trial ended. */
export interface TrialResult {
  /** What differs, and after which round; null where nothing does. */
  readonly difference: Difference | null;
  readonly counts: TrialCounts;
}

export interface TrialCounts extends WorkCounts {
  readonly kills: number;
  readonly documents: number;
  readonly comparisons: number;
}

/** What differs; the document is null where the run itself failed. */
export interface Difference extends Found {
  /** Place of the round after which it was seen; -1: before the first. */
  readonly round: number;
}

/** Carries a trial out on a database of its own, which is gone at the end. @throws TrialFault where the trial itself is at fault */
export async function carryOut(world: World, history: History, options: TrialOptions): Promise<TrialResult> {
  const random = randomOf("trial", options.seed);
  const stageOptions = {
    ...options,
    // A process takes no fewer than 100.
    loadChunkRows: options.kill ? random.pick([100, 20_000]) : random.pick([3, 10, 20_000]),
    bulkDocuments: random.pick([2, 10, 5_000]),
  };
  await using stage = options.kill
    ? await Stage.process(world, stageOptions, options.executable)
    : await Stage.here(world, stageOptions);
  await stage.writers.work(
    history.before.map((statement) => ({ writer: 0, parts: [statement], end: "none" })),
  );
  const trial = new Trial(stage, history, options, random);
  const difference = await trial.run();
  const { documents, comparisons } = stage;
  return { difference, counts: { ...stage.writers.counts, documents, comparisons, kills: trial.kills } };
}

class Trial {
  kills = 0;
  #round = -1;

  constructor(
    private readonly stage: Stage,
    private readonly history: History,
    private readonly options: TrialOptions,
    private readonly random: Random,
  ) {}

  async run(): Promise<Difference | null> {
    const { stage } = this;
    try {
      const found = await this.#follow();
      if (found !== null) return { ...found, round: this.#round };
      await stage.follower.stop();
    } catch (error) {
      if (error instanceof TrialFault) throw error;
      const text = `the run failed: ${error instanceof Error ? error.stack ?? error.message : String(error)}`;
      return { round: this.#round, text, document: null };
    }
    const text = stage.wrongDeadLetters();
    return text === null ? null : { round: this.#round, text, document: null };
  }

  async #follow(): Promise<Found | null> {
    const { stage, random } = this;
    const { rounds } = this.history;
    await stage.follower.start();
    // Else the first round meets the initial load.
    if (random.chance(0.4)) {
      const found = await stage.difference("after the load");
      if (found !== null) return found;
    }
    for (const [place, steps] of rounds.entries()) {
      this.#round = place;
      await both(stage.writers.work(steps), this.#disturb());
      const when = `after round ${place + 1}`;
      if (this.options.ddl) await this.#lookAgain();
      if (place === rounds.length - 1 && this.options.kill && random.chance(0.5)) {
        await stage.follower.kill();
        await stage.follower.runOnce();
        return await stage.compare(when);
      }
      const found = await stage.difference(when);
      if (found !== null) return found;
    }
    return null;
  }

  /**
   * A column that was added is noticed by a look at the catalog, which comes by its own time, or at the next start: a quiet
   * point needs one of which it is known that it has been.
   */
  async #lookAgain(): Promise<void> {
    const { follower } = this.stage;
    if (!this.options.kill || this.random.chance(0.5)) return await this.stage.lookedAt();
    await follower.kill();
    this.kills++;
    await follower.start();
  }

  /** Kills the run at random moments and starts it again; one in this process is at times stopped and started. */
  async #disturb(): Promise<void> {
    const { random, stage: { follower } } = this;
    if (!this.options.kill) {
      if (!random.chance(0.15)) return;
      await delay(random.whole(0, 100));
      await follower.stop();
      await follower.start();
      return;
    }
    for (let left = random.whole(0, 3); left > 0; left--) {
      await delay(random.whole(0, 400));
      await follower.kill();
      this.kills++;
      await follower.start();
    }
  }
}

/** Waits for both, whatever becomes of one of them. */
async function both(first: Promise<void>, second: Promise<void>): Promise<void> {
  for (const result of await Promise.allSettled([first, second])) {
    if (result.status === "rejected") throw result.reason;
  }
}
