/** The floor, as a candidate: see ../floor/main.ts. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { bunPath } from "../../bun.ts";
import { PROJECT } from "../../project.ts";
import { removeFolder, temporaryFolder } from "../../servers/process.ts";
import { type Accounted, type Cost, measure, partOfCost, sumOfCosts } from "../measure/run.ts";
import type { Servers } from "../servers.ts";
import type { Candidate } from "./candidate.ts";
import type { IndexPlan } from "./pgsync.ts";

/** How the floor posts: what was fastest where this was written. */
export interface FloorOptions {
  readonly bytesARequest: number;
  readonly requestsInFlight: number;
}

/** COPY of the finished documents → `_bulk`, into indices of the same mapping and settings as pgsync's. */
export class Floor implements Candidate {
  readonly name = "floor";
  readonly indices: readonly string[];

  constructor(
    private readonly servers: Accounted & Pick<Servers, "postgresUrl" | "search">,
    private readonly plans: readonly IndexPlan[],
    private readonly options: FloorOptions,
  ) {
    this.indices = plans.map(({ index }) => `floor_${index}`);
  }

  get description(): string {
    const { bytesARequest, requestsInFlight } = this.options;
    return `COPY → _bulk, bodies of ${bytesARequest / 1e6} MB, ${requestsInFlight} in flight`;
  }

  /** The time is that of the whole processes; of several indices, that of one after the other. */
  async load(): Promise<Cost> {
    const costs: Cost[] = [];
    for (const [place, { settings, mapping, loadSql }] of this.plans.entries()) {
      const index = this.#index(place);
      const loading = { ...settings, "index.refresh_interval": "-1" };
      await this.servers.search.create(index, { settings: loading, mappings: mapping });
      const { process } = await this.#post(index, loadSql, 1);
      costs.push(process);
    }
    return sumOfCosts(costs);
  }

  /**
   * Writes some of the documents again, as a change makes it necessary: nobody who does more than that can be quicker. Who they
   * are it is told, in place of finding it out, and nobody streams the change to it. It must have loaded, and
   * {@link Floor.refreshAsUsual} must be on.
   *
   * @param keys for each index in order: SQL that gives the only key column of the documents; all of the index, where it is
   * `all`
   * @param times how often, by one process
   * @returns what each time has cost; its time is that from the statement to the last acknowledgement: who follows is connected
   * before, too. CPU is that of the process, in equal parts
   */
  async write(keys: readonly (string | "all")[], times: number): Promise<readonly Cost[]> {
    const byIndex: (readonly Cost[])[] = [];
    for (const [place, { loadSql, keysSql }] of this.plans.entries()) {
      const those = keys[place];
      if (those === undefined) throw new RangeError("each index needs its keys");
      const statement = those === "all" ? loadSql : keysSql.replaceAll("$1", `(ARRAY(${those}))`);
      const { process, seconds } = await this.#post(this.#index(place), statement, times);
      byIndex.push(seconds.map((each) => ({ ...partOfCost(process, times), seconds: each })));
    }
    const [first = []] = byIndex;
    return first.map((_, time) => sumOfCosts(byIndex.flatMap((costs) => costs[time] ?? [])));
  }

  /** Gives its indices the default refresh interval, which they do not have during the load. */
  async refreshAsUsual(): Promise<void> {
    for (const index of this.indices) {
      await this.servers.search.set(index, { index: { refresh_interval: null } });
    }
  }

  async clear(): Promise<void> {
    for (const index of this.indices) await this.servers.search.remove(index);
  }

  #index(place: number): string {
    const index = this.indices[place];
    if (index === undefined) throw new RangeError(`there is no index ${place}`);
    return index;
  }

  async #post(
    index: string,
    sql: string,
    times: number,
  ): Promise<{ process: Cost; seconds: readonly number[] }> {
    const { servers, options } = this;
    const folder = temporaryFolder("floor");
    try {
      const statement = join(folder, "documents.sql");
      writeFileSync(statement, sql);
      const seconds: number[] = [];
      const process = await measure({
        command: await bunPath(),
        args: [
          join(PROJECT, "scripts", "bench", "floor", "main.ts"),
          ...[servers.postgresUrl, servers.search.url, index, statement],
          ...[options.bytesARequest, options.requestsInFlight, times].map(String),
        ],
        onLine: (line, stream) => {
          if (stream === "stdout") seconds.push(Number(line) / 1000);
        },
      }, servers);
      if (seconds.length !== times) throw new Error("the floor did not tell its times");
      return { process, seconds };
    } finally {
      removeFolder(folder);
    }
  }
}
