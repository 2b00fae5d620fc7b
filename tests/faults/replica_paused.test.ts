/**
 * Documents are read from a hot standby whose replay stands still: the primary shows a change, and the stream carries it,
 * long before the standby does. A document built meanwhile would show the old state for ever.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PostgresMajor } from "../../scripts/servers/postgres.ts";
import { ownPostgres, ownStandby } from "../support/postgres.ts";
import {
  CHANGES,
  CHANGES_IN_SHORT,
  everyDocument,
  lookedAgain,
  openLibrary,
  received,
  superuser,
} from "./library.ts";

const MAJORS: readonly PostgresMajor[] = [13, 14, 15, 16, 17, 18];

describe("a standby whose replay is paused", () => {
  for (const major of MAJORS) {
    it(`PostgreSQL ${major}: nothing is built from its old state`, async () => {
      const primary = await ownPostgres({ major });
      const standby = await ownStandby(primary);
      const [writer, reader] = [superuser(primary), superuser(standby)];
      {
        await using bench = await openLibrary(primary, standby);
        bench.start();
        await bench.assertSettled("after the initial load");
        for (const [what, statements] of Object.entries(major === 17 ? CHANGES : CHANGES_IN_SHORT)) {
          await reader`SELECT pg_wal_replay_pause()`;
          const before = await everyDocument(bench);
          await bench.write(...statements);
          const committed = await received(bench, writer);
          await lookedAgain(bench, reader, "build");
          assert.deepEqual(await everyDocument(bench), before, `${what}: not to be seen yet`);
          const confirmed = bench.synchronizer.status().databases[0]?.stream.confirmed ?? 0n;
          assert.ok(confirmed < committed, `${what}: not to be confirmed yet`);
          await reader`SELECT pg_wal_replay_resume()`;
          await bench.assertSettled(what);
        }
      }
      await Promise.all([writer.end(), reader.end()]);
      await standby.stop("immediate");
      await primary.stop("immediate");
    });
  }
});
