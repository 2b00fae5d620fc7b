/** Relationship kinds, each as a small story: tables, a schema, and changes after each of which the index must equal the tables. */
import { describe, it } from "node:test";
import { assertFormsAgree } from "./forms.ts";
import { Bench } from "./support.ts";

/** A kind of relationship and what happens to it. */
export interface Case {
  readonly name: string;
  /** Statements that make tables and first rows. */
  readonly tables: string;
  /** The `nodes` of the schema file, as YAML. */
  readonly nodes: string | readonly string[];
  /** What is done → its SQL (one transaction). */
  readonly changes: Readonly<Record<string, string>>;
}

/** Defines a test for each case and version of PostgreSQL: the initial load, then each change. */
export function testCases(title: string, cases: readonly Case[]): void {
  for (const major of [17, 15] as const) {
    describe(`${title}, PostgreSQL ${major}`, () => {
      for (const { name, tables, nodes, changes } of cases) {
        it(name, async () => {
          await using bench = await Bench.open(major, tables, nodes);
          bench.start();
          await bench.assertSettled("after the initial load");
          await assertFormsAgree(bench);
          for (const [what, statement] of Object.entries(changes)) {
            await bench.write(statement);
            await bench.assertSettled(what);
          }
        });
      }
    });
  }
}
