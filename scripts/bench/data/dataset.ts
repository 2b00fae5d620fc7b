import type postgres from "postgres";
import type { BenchSchema } from "../candidates/pgsync.ts";

/** Tables that are the same in every run, and the schema file that makes documents of them. */
export interface Dataset {
  /** The database. */
  readonly name: string;
  readonly schema: BenchSchema;
  /** Documents of each index, in the order of the schema file. */
  readonly documents: readonly number[];
  /** Makes and fills the tables. */
  readonly fill: (url: string) => Promise<void>;
  readonly probe: Probe;
}

/** A small change of one document of the first index, by which is seen how far a candidate is. */
export interface Probe {
  /** Commits a change; never twice the same. */
  change(sql: postgres.Sql): Promise<Wanted>;
}

/** What a document must look like. */
export interface Wanted {
  readonly id: string;
  readonly field: string;
  /** Whether the field's text is the one that was written. */
  has(text: string | undefined): boolean;
}

/** A change of an integer that no other change touches. */
export function integerProbe(
  id: string,
  field: string,
  write: (sql: postgres.Sql, value: number) => Promise<unknown>,
): Probe {
  let value = 1_000_000;
  return {
    async change(sql) {
      const wanted = ++value;
      await write(sql, wanted);
      return { id, field, has: (text) => text !== undefined && Number(text) === wanted };
    },
  };
}
