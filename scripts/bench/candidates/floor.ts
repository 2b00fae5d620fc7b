/** The floor, as a candidate: see ../floor/main.ts. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { bunPath } from "../../bun.ts";
import { PROJECT } from "../../project.ts";
import { removeFolder, temporaryFolder } from "../../servers/process.ts";
import { measure } from "../measure/run.ts";
import type { Servers } from "../servers.ts";
import type { Candidate } from "./candidate.ts";
import type { IndexPlan } from "./pgsync.ts";

const INDEX = "floor";

/** How the floor posts: what was fastest where this was written. */
export interface FloorOptions {
  readonly bytesARequest: number;
  readonly requestsInFlight: number;
}

/** COPY of the finished documents → `_bulk`, into an index of the same mapping and settings as pgsync's. */
export class Floor implements Candidate {
  readonly name = "floor";
  readonly index = INDEX;

  constructor(
    private readonly servers: Servers,
    private readonly plan: IndexPlan,
    private readonly options: FloorOptions,
  ) {}

  get description(): string {
    const { bytesARequest, requestsInFlight } = this.options;
    return `COPY → _bulk, bodies of ${bytesARequest / 1e6} MB, ${requestsInFlight} in flight`;
  }

  async load() {
    const { servers, plan, options } = this;
    await servers.search.create(INDEX, {
      settings: { ...plan.settings, "index.refresh_interval": "-1" },
      mappings: plan.mapping,
    });
    const folder = temporaryFolder("floor");
    try {
      const statement = join(folder, "documents.sql");
      writeFileSync(statement, plan.loadSql);
      return await measure({
        command: await bunPath(),
        args: [
          join(PROJECT, "scripts", "bench", "floor", "main.ts"),
          ...[servers.postgresUrl, servers.search.url, INDEX, statement],
          ...[String(options.bytesARequest), String(options.requestsInFlight)],
        ],
      }, servers);
    } finally {
      removeFolder(folder);
    }
  }

  async clear() {
    await this.servers.search.remove(INDEX);
  }
}
