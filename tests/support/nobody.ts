import process from "node:process";
import { isRoot, SERVER_USER } from "../../scripts/servers/process.ts";

/** Makes this process one of a user who may not write everywhere: where we are root, it becomes `nobody`, for good. */
export function becomeNobody(): void {
  if (!isRoot()) return;
  process.setgid?.(SERVER_USER.gid);
  process.setuid?.(SERVER_USER.uid);
}
