/** The generator of worlds: always the same for a seed, wide in reach, and never refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeWorld } from "./world_generator.ts";

test("a seed gives the same world each time", () => {
  for (let seed = 0; seed < 50; seed++) {
    const [one, other] = [makeWorld(seed), makeWorld(seed)];
    const schema = (world: typeof one) => world.schema("database", (place) => `index${place}`);
    assert.deepEqual({ ...one, schema: schema(one) }, { ...other, schema: schema(other) });
  }
});
