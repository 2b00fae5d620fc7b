#!/usr/bin/env -S deno run --allow-net --allow-env --allow-read --allow-write --allow-sys=osRelease,hostname
/** The program: `pgsync`. */
import process from "node:process";
import { main } from "./src/cli/main.ts";

await main(process.argv.slice(2));
