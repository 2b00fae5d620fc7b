import { PgsyncError } from "../errors/error.ts";
import { indexNameFault } from "../schema/index_name.ts";

/**
 * Names of the indices behind an alias. Documents live in `<alias>_<UTC time of creation, to the millisecond>`. A time rather than a
 * counter, because a counter would begin anew after a teardown: a late request of an earlier process would then
 * find an index of the name that it knew, and put documents there that the new load never removes.
 */

const SUFFIX = /^_\d{17}$/;

/** The name of an index made at `time` behind `alias`. */
export function generationName(alias: string, time: Date): string {
  return `${alias}_${time.toISOString().replace(/\D/g, "")}`;
}

/** Whether an index of this name may be one of ours behind `alias`. Its `_meta` must say so, too. */
export function isGenerationOf(alias: string, index: string): boolean {
  return index.startsWith(alias) && SUFFIX.test(index.slice(alias.length));
}

/**
 * The alias through which a generation is written.
 *
 * A bulk request to an index that is gone would make it anew, with a guessed mapping. `require_alias` forbids that,
 * but not for a request of nothing but deletions: with external versions these make the index whatever is asked
 * (seen on 8.19; TransportBulkAction tests the operation before the flag). An alias may have capital letters and an
 * index may not, so an alias of this name can never turn into an index.
 */
export function writeAlias(generation: string): string {
  return `${generation}_WRITE`;
}

/**
 * Checks a name before it stands in a path, where a comma or a star would reach other indices.
 *
 * @throws PgsyncError SCHEMA_INVALID
 */
export function checkIndexName(name: string): void {
  const fault = indexNameFault(name);
  if (fault !== null) throw new PgsyncError("SCHEMA_INVALID", `The index name "${name}" ${fault}.`);
}
