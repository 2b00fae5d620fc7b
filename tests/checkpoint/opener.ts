/**
 * Opens a checkpoint file, writes to it, and says `ok`, or the code and the message of the error. Root may write everywhere, so where we are root
 * it becomes `nobody` first.
 */
import process from "node:process";
import { PgsyncError } from "../../src/errors/error.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { isRoot, SERVER_USER } from "../../scripts/servers/process.ts";

if (isRoot()) {
  process.setgid?.(SERVER_USER.gid);
  process.setuid?.(SERVER_USER.uid);
}
try {
  using checkpoint = Checkpoint.open(process.argv[2] ?? "");
  checkpoint.savePosition(1n);
  console.log("ok");
} catch (thrown) {
  if (!(thrown instanceof PgsyncError)) throw thrown;
  console.log(`${thrown.code} ${thrown.message}`);
}
