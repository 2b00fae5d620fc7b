/** Opens a checkpoint file, writes to it, and says `ok`, or the code and the message of the error; as a user who may not write everywhere. */
import process from "node:process";
import { PgsyncError } from "../../src/errors/error.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { becomeNobody } from "../support/nobody.ts";

becomeNobody();
try {
  using checkpoint = Checkpoint.open(process.argv[2] ?? "");
  checkpoint.savePosition(1n);
  console.log("ok");
} catch (thrown) {
  if (!(thrown instanceof PgsyncError)) throw thrown;
  console.log(`${thrown.code} ${thrown.message}`);
}
