import { PgsyncError } from "../errors/error.ts";
import type { RunOptions } from "./options.ts";

/**
 * Makes what a run needs: publications, replica identities, slots and indices.
 *
 * @param report receives one line for each thing done
 * @throws PgsyncError
 */
export function bootstrap(_options: RunOptions, _report: (line: string) => void): Promise<void> {
  return Promise.reject(new PgsyncError("INTERNAL", "bootstrap is not built yet."));
}

/**
 * Removes what bootstrap made.
 *
 * @param report receives one line for each thing done
 * @throws PgsyncError
 */
export function teardown(_options: RunOptions, _report: (line: string) => void): Promise<void> {
  return Promise.reject(new PgsyncError("INTERNAL", "teardown is not built yet."));
}
