/** A trial: a world, a history, and a run of pgsync that follows it, judged by the oracle at every quiet point. */
import { setTimeout as delay } from "node:timers/promises";
import postgres from "postgres";
import { type Random, randomOf } from "../../examples/bookshop/random.ts";
import { type Found, Stage, type TrialServers } from "./stage.ts";
import { alters, type History } from "./work.ts";
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
  /** Those within moments after tables were altered, and after the run began to map or compare all documents anew. */
  readonly killsAfterDdl: number;
  readonly killsInComparison: number;
  /** Slots that the run has given up because the server could not decode for them. */
  readonly slotsGivenUp: number;
  readonly documents: number;
  readonly comparisons: number;
}

/** What differs; the document is null where the run itself failed. */
export interface Difference extends Found {
  /** Place of the round after which it was seen; -1: before the first. */
  readonly round: number;
}

/** A trial that is not over by then hangs; the longest take a minute or two. */
const LIMIT_MS = 600_000;
/** The run looks at its tables each second. */
const COMPARISON_MS = 1_500;

/** Carries a trial out on a database of its own, which is gone at the end. @throws TrialFault where the trial itself is at fault */
export async function carryOut(world: World, history: History, options: TrialOptions): Promise<TrialResult> {
  const random = randomOf("trial", options.seed);
  const often = options.kill ? 1 : 0.2;
  const stageOptions = {
    ...options,
    // What the run refreshes beside the readers is counted a moment later before PostgreSQL 15.
    viewRefreshSeconds: await majorOf(options.servers) < 15
      ? random.pick([0, 300])
      : random.pick([0, 0, 300, often]),
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
  const trial = new Trial(stage, world, history, options, random);
  const difference = await within(LIMIT_MS, trial.run(), () => trial.hung());
  const { documents, comparisons, follower: { slotsGivenUp } } = stage;
  const counts = { ...stage.writers.counts, ...trial.kills, slotsGivenUp, documents, comparisons };
  return { difference, counts };
}

async function majorOf({ postgresUrl }: TrialServers): Promise<number> {
  const sql = postgres(postgresUrl, { max: 1, onnotice: () => {} });
  try {
    const [row] = await sql<
      { version: number }[]
    >`SELECT current_setting('server_version_num')::int AS version`;
    return Math.floor((row?.version ?? 0) / 10_000);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

class Trial {
  readonly kills = { kills: 0, killsAfterDdl: 0, killsInComparison: 0 };
  #round = -1;
  /** What it is about. */
  #at = "start";

  constructor(
    private readonly stage: Stage,
    private readonly world: World,
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
      this.#at = "work";
      const work = stage.writers.work(steps);
      await both(work, this.#disturb(settled(work), steps.some(alters)));
      const when = `after round ${place + 1}`;
      this.#at = "quiet point";
      await stage.viewsSettled();
      if (this.options.ddl || this.world.materialized.length > 0) await this.#lookAgain(steps.some(alters));
      if (place === rounds.length - 1 && this.options.kill && random.chance(0.5)) {
        await stage.follower.kill();
        this.kills.kills++;
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
  async #lookAgain(isAltered: boolean): Promise<void> {
    const { follower } = this.stage;
    if (this.random.chance(0.5) || !(this.options.kill || isAltered)) return await this.stage.lookedAt();
    if (!this.options.kill) {
      // Also because a run pauses longer and longer between one mapping and the next.
      await follower.stop();
      return await follower.start();
    }
    await follower.kill();
    this.kills.kills++;
    await follower.start();
  }

  /** What is to be said of a trial that has no end. */
  async hung(): Promise<Difference> {
    const sessions = await this.stage.sql<{ text: string }[]>`
      SELECT concat_ws(' ', application_name, state, wait_event_type, wait_event, left(query, 300)) AS text
      FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`;
    const text = `the trial hangs (${this.#at}):\n${sessions.map(({ text }) => text).join("\n")}`;
    return { round: this.#round, text, document: null };
  }

  /** Kills the run at random moments and starts it again; one in this process is at times stopped and started. */
  async #disturb(workIsOver: Promise<void>, isAltered: boolean): Promise<void> {
    const { random, stage: { follower } } = this;
    if (!this.options.kill) {
      if (!random.chance(0.15)) return;
      await delay(random.whole(0, 100));
      await follower.stop();
      await follower.start();
      return;
    }
    for (let left = random.whole(0, isAltered ? 2 : 3); left > 0; left--) {
      await delay(random.whole(0, 400));
      await this.#kill();
    }
    if (!isAltered) return;
    // In the midst of what an alteration makes the run do.
    if (random.chance(0.5)) {
      const pause = random.whole(0, 100);
      if (!await this.#altered(workIsOver)) return;
      await delay(pause);
      await this.#kill();
      this.kills.killsAfterDdl++;
    } else {
      const pause = random.whole(0, 60);
      if (!await follower.comparison(COMPARISON_MS)) return;
      await delay(pause);
      await this.#kill();
      this.kills.killsInComparison++;
    }
  }

  async #kill(): Promise<void> {
    const { follower } = this.stage;
    await follower.kill();
    this.kills.kills++;
    await follower.start();
  }

  /** Waits for the next alteration. @returns false where there is none before the work is over */
  async #altered(workIsOver: Promise<void>): Promise<boolean> {
    const { writers } = this.stage;
    const altered = new Promise<boolean>((resolve) => void (writers.onAltered = () => resolve(true)));
    return await Promise.race([altered, workIsOver.then(() => false)]);
  }
}

/** Done when the other is, in whatever way. */
function settled(work: Promise<void>): Promise<void> {
  return work.then(() => {}, () => {});
}

/** What comes of the work, or of its taking too long. */
async function within<T>(milliseconds: number, work: Promise<T>, tooLong: () => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const limit = delay(milliseconds, null, { signal: stop.signal }).then(tooLong);
  // The work has come to its end.
  limit.catch(() => {});
  try {
    return await Promise.race([work, limit]);
  } finally {
    stop.abort();
    work.catch(() => {});
  }
}

/** Waits for both, whatever becomes of one of them. */
async function both(first: Promise<void>, second: Promise<void>): Promise<void> {
  for (const result of await Promise.allSettled([first, second])) {
    if (result.status === "rejected") throw result.reason;
  }
}
