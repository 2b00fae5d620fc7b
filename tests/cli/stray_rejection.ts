/** `pgsync` with a promise that fails while nobody waits for it: a fault of the program's own. */
import process from "node:process";
import { main } from "../../src/cli/main.ts";

setTimeout(() => void Promise.reject(new Error("nobody caught this")), 50);
await main(["status", "--url", process.argv[2] ?? ""]);
