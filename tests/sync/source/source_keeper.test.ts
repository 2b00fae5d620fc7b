import assert from "node:assert/strict";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Checkpoint } from "../../../src/checkpoint/checkpoint.ts";
import type { DocumentSource } from "../../../src/sync/source/document_source.ts";
import { SourceKeeper } from "../../../src/sync/source/source_keeper.ts";
import { removeFolder, temporaryFolder } from "../../../scripts/servers/process.ts";

const folder = temporaryFolder("keeper");
after(() => removeFolder(folder));

function source(shape: string): DocumentSource {
  return { shape, key: "1 1", tables: [] };
}

describe("The keeper of what documents are made of", () => {
  const open = (name: string) => {
    const checkpoint = Checkpoint.open(join(folder, name));
    return { checkpoint, keeper: new SourceKeeper(checkpoint), stored: () => keeperOf(checkpoint) };
  };
  // A new one, as after a crash.
  const keeperOf = (checkpoint: Checkpoint) => new SourceKeeper(checkpoint).stored("book")?.shape ?? null;

  it("stores at once what demands nothing", () => {
    const { checkpoint, keeper, stored } = open("at-once");
    using _ = checkpoint;
    assert.equal(stored(), null);
    keeper.found("book", source("a"));
    assert.equal(stored(), "a");
  });

  it("stores what demands a comparison when that is acknowledged, and nothing found meanwhile before it", () => {
    const { checkpoint, keeper, stored } = open("demands");
    using _ = checkpoint;
    keeper.found("book", source("a"));
    const first = keeper.demands("book", source("b"));
    keeper.found("book", source("c"));
    const second = keeper.demands("book", source("d"));
    assert.equal(stored(), "a");
    first();
    assert.equal(stored(), "a");
    second();
    assert.equal(stored(), "d");
    assert.equal(keeper.known("book")?.shape, "d");
  });
});
