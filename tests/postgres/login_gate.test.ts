import assert from "node:assert/strict";
import { test } from "node:test";
import { LoginGate } from "../../src/postgres/login_gate.ts";

const error = (code: string) => Object.assign(new Error(code), { code });

test("after a login that succeeded, a refused one keeps all others away for growing times", () => {
  let now = 0;
  const gate = new LoginGate(() => now);
  const wrong = error("28P01");
  gate.refused(wrong);
  assert.equal(gate.shut, null, "a wrong setting is told at once");
  gate.passed();
  const times: number[] = [];
  for (let round = 0; round < 6; round++) {
    gate.refused(wrong);
    // Those that were under way when it shut.
    gate.refused(wrong);
    assert.equal(gate.shut, wrong);
    const since = now;
    while (gate.shut !== null) now += 1_000;
    times.push(now - since);
  }
  assert.deepEqual(times, [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
  gate.passed();
  gate.refused(wrong);
  now += 30_000;
  assert.equal(gate.shut, null, "from the beginning again");
});

test("what is no matter of user and password shuts nothing", () => {
  const gate = new LoginGate(() => 0);
  gate.passed();
  for (const code of ["3D000", "57P03", "53300", "ECONNREFUSED"]) gate.refused(error(code));
  assert.equal(gate.shut, null);
});
