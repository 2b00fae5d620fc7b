/** A script for process.test.ts: starts a child, says what it started, and ends in the way that its argument names. */
import process from "node:process";
import { beforeTheEnd, runScript, startChild, temporaryFolder } from "../../../scripts/servers/process.ts";

await runScript(async (interrupted) => {
  const folder = temporaryFolder("ending");
  const child = await startChild({ command: "sleep", args: ["600"] });
  beforeTheEnd(() => Promise.resolve(console.log("cleanup")));
  console.log(JSON.stringify({ child: child.pid, folder }));
  switch (process.argv[2]) {
    case "return":
      return 3;
    case "throw":
      throw new Error("thrown");
    case "reject":
      void Promise.reject(new Error("rejected"));
      break;
    case "exit":
      process.exit(4);
  }
  return await new Promise<number>((resolve) => interrupted.addEventListener("abort", () => resolve(5)));
});
