/** `pgsync` from its sources, as a user who may not write everywhere. */
import process from "node:process";
import { main } from "../../src/cli/main.ts";
import { becomeNobody } from "../support/nobody.ts";

becomeNobody();
await main(process.argv.slice(2));
