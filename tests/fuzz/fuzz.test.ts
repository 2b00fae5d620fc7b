/** A fixed part of the fuzz, the same seeds on each major; `deno task test:fuzz` goes on from here (docs/correctness.md). */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import process from "node:process";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { usePostgres } from "../support/postgres.ts";
import { fuzz } from "./fuzz.ts";
import { smallWorld } from "./small_world.ts";
import { makeHistory } from "./work_generator.ts";
import { makeWorld } from "./world_generator.ts";

const STEPS = 120;
const SEEDS = [4, 6, 10, 16, 30];
/** Fewer, for a process of the sources takes its time to start. */
const KILLED_SEEDS = [7, 26];
/** Less would be much ado about nothing: the work is made so that most of it can be done. */
const LEAST_SUCCESS = 0.6;

describe("Random work", () => {
  it("has every kind of statement for partitions and materialised views", () => {
    const worlds = SEEDS.map(makeWorld);
    const text = JSON.stringify(worlds.map((world) => makeHistory(world, 1, { steps: 300, ddl: true })));
    const kinds = [
      ...["ATTACH PARTITION", "DETACH PARTITION", "INCLUDING ALL", "PARTITION OF", "TRUNCATE"],
      ...["REFRESH MATERIALIZED VIEW CONCURRENTLY", "REFRESH MATERIALIZED VIEW"],
    ];
    for (const kind of kinds) assert.ok(text.includes(kind), kind);
    const refreshes = JSON.stringify(makeHistory(smallWorld(), 1, { steps: 300, ddl: false }));
    assert.doesNotMatch(refreshes, /ALTER TABLE|VACUUM|REFRESH/);
  });

  it("is the same for the same world and seed", () => {
    const history = () => makeHistory(makeWorld(7), 7, { steps: STEPS, ddl: true });
    assert.deepEqual(history(), history());
    assert.notDeepEqual(history(), makeHistory(makeWorld(7), 8, { steps: STEPS, ddl: true }));
  });

  it("has every kind of statement", () => {
    const text = JSON.stringify(
      [1, 2, 3].map((seed) => makeHistory(smallWorld(), seed, { steps: 300, ddl: true })),
    );
    const kinds = [
      ...["INSERT INTO", "generate_series(1, ", "ON CONFLICT DO NOTHING", "DO UPDATE SET", "COPY"],
      ...["UPDATE", "DELETE FROM", "TRUNCATE", "CASCADE", "SET CONSTRAINTS ALL DEFERRED", "string_agg(md5"],
      ...[
        "ALTER COLUMN",
        " USING ",
        "VACUUM FULL",
        "ADD PRIMARY KEY",
        "REPLICA IDENTITY",
        "ALTER PUBLICATION",
      ],
      ...["ADD COLUMN", "DROP COLUMN", "RENAME COLUMN", '"end":"rollback"', '"end":"release"', '"writer":2'],
    ];
    for (const kind of kinds) {
      assert.ok(text.includes(JSON.stringify(kind).slice(1, -1)) || text.includes(kind), kind);
    }
  });
});

for (const major of [15, 17] as const) {
  describe(`Random work on random schemas, PostgreSQL ${major}`, () => {
    for (const seed of [...SEEDS, ...KILLED_SEEDS]) {
      const kill = KILLED_SEEDS.includes(seed);
      it(`ends with equal documents${kill ? ", though the run is killed" : ""}, seed ${seed}`, async () => {
        const [server, search] = await Promise.all([usePostgres(major), useElasticsearch()]);
        const run = {
          ...{ seed, kill, ddl: true, steps: STEPS, world: makeWorld(seed) },
          executable: process.env["PGSYNC_TEST_PROGRAM"] || null,
          servers: { postgresUrl: server.url, searchUrl: search.url },
          name: `${process.pid}_${major}_${seed}_${kill}`,
        };
        const { difference, counts } = await fuzz(run);
        const again = `deno task test:fuzz --seed ${seed} --runs 1 --steps ${STEPS} --pg ${major}${
          kill ? " --kill" : ""
        }`;
        assert.equal(difference, null, `${difference?.text}\n${again}`);
        assert.ok(counts.comparisons > 2 && counts.documents > 0, "documents were compared");
        const success = 1 - counts.failed / counts.statements;
        assert.ok(success >= LEAST_SUCCESS, `${Math.round(100 * success)} % of the statements could be done`);
      });
    }
  });
}
