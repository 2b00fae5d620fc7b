/** A process that is frozen for so long that the search engine forgets what was deleted meanwhile. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { freezeAndReplace } from "../frozen.ts";

/** `index.gc_deletes` is 60 s: after that, a deletion has no version any more that an older document would be held against. */
const FORGOTTEN_MS = 62_000;

for (const during of ["stream", "load"] as const) {
  test(`frozen in the ${during} for more than a minute: deleted documents that it brings back are taken away again`, async () => {
    const { sql, frozen, other, elasticsearch, index, settled, assertEqual } = await freezeAndReplace(
      "operator",
      during,
    );
    await sql`DELETE FROM item WHERE id <= 20`;
    await settled();
    await delay(FORGOTTEN_MS);
    // It forgets at a refresh.
    await sql`INSERT INTO item (title, amount) VALUES ('something to refresh', 1)`;
    await settled();
    await elasticsearch.request("POST", `/${index}/_refresh`);
    await assertEqual();
    frozen.signal("SIGCONT");
    const { stderr } = await frozen.ended;
    assert.match(stderr, /^then reached after-bulk$/m);
    assert.match(stderr, /^error CHECKPOINT_BEHIND/m);
    await assertEqual();
    assert.equal((await other.end("SIGTERM")).code, 0);
    await sql.end();
  });
}
