/** A process is frozen (SIGSTOP) with documents in its hands, another one takes over, and the first wakes up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EXIT } from "../../src/errors/codes.ts";
import { freezeAndReplace, type WalsenderEnd } from "./frozen.ts";

const ENDS: Readonly<Record<WalsenderEnd, string>> = {
  operator: "an operator ends its walsender",
  timeout: "the server gives its walsender up (wal_sender_timeout)",
};

for (const end of ["operator", "timeout"] as const) {
  test(`frozen before its request; ${ENDS[end]}; when it wakes, nothing older is written, and it halts`, async () => {
    const { sql, frozen, other, settled, assertEqual } = await freezeAndReplace(end);
    // All that the request holds is overtaken: by newer documents, by deletions, by rows that are there again.
    await sql`UPDATE item SET title = 'newer' WHERE id <= 10`;
    await sql`DELETE FROM item WHERE id BETWEEN 11 AND 20`;
    await sql`INSERT INTO item (id, title, amount) SELECT id, 'again', 1 FROM generate_series(21, 30) AS id`;
    await settled();
    await assertEqual();

    frozen.signal("SIGCONT");
    await frozen.logged(/then reached after-bulk/);
    const { code, stderr } = await frozen.exit();
    assert.equal(code, EXIT.halted, stderr);
    assert.match(
      stderr,
      /^error CHECKPOINT_BEHIND: .* somebody else has read the slot\.\n *Go on with the newest/m,
    );
    await assertEqual();

    // The other one does not mind.
    await sql`UPDATE item SET amount = amount + 1 WHERE id <= 100`;
    await settled();
    await assertEqual();
    assert.equal((await other.end("SIGTERM")).code, 0);
    await sql.end();
  });
}
