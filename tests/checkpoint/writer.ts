/**
 * Writes to a checkpoint for ever: a dead letter and the position that belongs to it, in one transaction, and says
 * the position once it is committed. Made to be killed.
 */
import { writeSync } from "node:fs";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";

const checkpoint = Checkpoint.open(process.argv[2] ?? "");
for (let position = (checkpoint.position() ?? 0n) + 1n;; position += 1n) {
  checkpoint.transaction(() => {
    const id = String(position);
    const refusal = { status: 400, type: "test", reason: "test", position, version: position };
    checkpoint.addDeadLetters([{ index: "books", id, operation: "index", ...refusal }], new Date());
    checkpoint.savePosition(position);
  });
  writeSync(1, `${position}\n`);
}
