/** `pgsync` from its sources, as a user who may not write everywhere: where we are root, it becomes `nobody` first. */
import process from "node:process";
import { isRoot, SERVER_USER } from "../../scripts/servers/process.ts";
import { main } from "../../src/cli/main.ts";

if (isRoot()) {
  process.setgid?.(SERVER_USER.gid);
  process.setuid?.(SERVER_USER.uid);
}
await main(process.argv.slice(2));
