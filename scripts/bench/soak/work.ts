/** The work of a soak: small changes all the time, and in each round the same large ones and the same faults. */
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import postgres from "postgres";
import { seededRandom } from "../../../tests/support/random.ts";
import type { Size } from "../large/shop.ts";
import type { Servers } from "../servers.ts";

/** All rounds are equal, so that they can be compared. */
export const ROUND_SECONDS = 180;

const WRITERS = 2;
const PAUSE_MS = 40;
const FROZEN_MS = 8_000;
/** Rows that a large transaction changes. */
const LARGE_ROWS = 20_000;

/** What the work is done on. */
interface Place {
  readonly sql: postgres.Sql;
  readonly engine: Servers["engine"];
}

/** What happens once in each round, and when, in seconds. */
interface Event {
  readonly at: number;
  readonly what: string;
  readonly happens: (on: Place, size: Size) => Promise<void>;
}

const EVENTS: readonly Event[] = [
  {
    at: 5,
    what: "the search engine is shut down and started again",
    async happens({ engine }) {
      await engine.halt();
      await engine.start();
    },
  },
  {
    at: 60,
    what: "a town is renamed, again and again",
    async happens({ sql }) {
      for (let town = 1; town <= 20; town++) {
        await sql`UPDATE town SET name = name || '.' WHERE id = ${town}`;
        await sql`UPDATE town SET name = rtrim(name, '.') WHERE id = ${town}`;
      }
    },
  },
  {
    at: 70,
    what: "the stream and the builders lose their sessions",
    async happens({ sql }) {
      await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgsync%'`;
    },
  },
  {
    at: 80,
    what: "a large transaction",
    async happens({ sql }) {
      await sql`UPDATE part SET name = id || ' updated ' || now() WHERE id <= ${LARGE_ROWS}`;
    },
  },
  {
    at: 100,
    what: "the search engine is frozen",
    async happens({ engine }) {
      const { pid } = engine;
      process.kill(pid, "SIGSTOP");
      await delay(FROZEN_MS);
      process.kill(pid, "SIGCONT");
    },
  },
  {
    at: 115,
    what: "a country is renamed, on which all documents depend",
    async happens({ sql }) {
      await sql`UPDATE country SET name = 'renamed ' || now() WHERE id = 1`;
    },
  },
  {
    at: 145,
    what: "a table is truncated and filled again",
    async happens({ sql }, { rows }) {
      await sql`TRUNCATE note`;
      await sql`INSERT INTO note SELECT id, id, 'note on ' || id FROM generate_series(1, ${rows}) AS id`;
    },
  },
];

/** Works until `stop`. */
export interface Work {
  /** Transactions of the small kind that were committed so far. */
  readonly commits: number;
  /** It has come to an end by itself; `stop` tells why. */
  readonly hasFailed: boolean;
  /** Ends the work, the event under way included. @throws what it has failed with */
  stop(): Promise<void>;
}

/** Begins to work. @param onEvent told what happens */
export function startWork(servers: Servers, size: Size, onEvent: (what: string) => void): Work {
  const ended = new AbortController();
  let commits = 0;
  const sql = postgres(servers.postgresUrl, { max: WRITERS + 1, onnotice: () => {} });
  const working = Promise.all([
    ...Array.from({ length: WRITERS }, async (_, writer) => {
      const random = seededRandom(writer);
      while (!ended.signal.aborted) {
        await small(sql, random.below, size);
        commits++;
        await delay(PAUSE_MS);
      }
    }),
    events({ sql, engine: servers.engine }, size, onEvent, ended.signal),
  ]);
  // Told by `stop`, which comes in any case.
  let hasFailed = false;
  working.catch(() => {
    hasFailed = true;
    ended.abort();
  });
  return {
    get commits() {
      return commits;
    },
    get hasFailed() {
      return hasFailed;
    },
    async stop() {
      ended.abort();
      try {
        await working;
      } finally {
        await sql.end({ timeout: 5 });
      }
    },
  };
}

/** A transaction of the application's. What is inserted is deleted again, so that the tables keep their size. */
async function small(sql: postgres.Sql, below: (limit: number) => number, { items, rows }: Size) {
  const [item, row] = [1 + below(items), 1 + below(rows)];
  switch (below(5)) {
    case 0:
      await sql`UPDATE item SET amount = amount + 1, title = 'item ' || ${item}::int || '!' WHERE id = ${item}`;
      break;
    case 1:
      await sql`UPDATE item SET town_id = ${1 + below(1_000)} WHERE id = ${item}`;
      break;
    case 2:
      await sql`UPDATE part SET item_id = ${item}, name = 'moved' WHERE id = ${row}`;
      break;
    case 3:
      await sql`
        INSERT INTO part VALUES (${
        rows + row
      }, ${item}, 'more') ON CONFLICT (id) DO UPDATE SET item_id = ${item}`;
      break;
    default:
      await sql.begin(async (transaction) => {
        await transaction`DELETE FROM part WHERE id = ${rows + row}`;
        await transaction`UPDATE note SET body = repeat('note ', ${below(50)}) WHERE id BETWEEN ${row} AND ${
          row + 4
        }`;
      });
  }
}

async function events(
  place: Place,
  size: Size,
  onEvent: (what: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  for (let round = 0;; round++) {
    for (const { at, what, happens } of EVENTS) {
      const due = started + (round * ROUND_SECONDS + at) * 1000;
      await delay(Math.max(0, due - performance.now()), undefined, { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
      if (signal.aborted) return;
      onEvent(`round ${round + 1}: ${what}`);
      await happens(place, size);
    }
  }
}
