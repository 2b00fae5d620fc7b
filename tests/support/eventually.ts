/** Waiting for a condition instead of for a time. */
import { setTimeout as delay } from "node:timers/promises";

export interface EventuallyOptions {
  /** How long to go on, in milliseconds; 20,000 by default. */
  readonly timeout?: number;
  /** Pause between two tries, in milliseconds; 20 by default. */
  readonly interval?: number;
  /** What is awaited, for the message of the failure: "the document shows the new price". */
  readonly what?: string;
  /** Asked once, at the end, where it was awaited in vain: what the failure's message is to say besides. It must not throw. */
  readonly explain?: () => string | Promise<string>;
}

/**
 * Runs `check` until it neither throws nor returns `false`, and returns its result. Put assertions into it: the last one that failed
 * is the failure of the test.
 *
 * @throws Error after the timeout, with the last error as its cause and the number of tries
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  options: EventuallyOptions = {},
): Promise<Exclude<T, false>> {
  const { timeout = 20_000, interval = 20, what = "the condition", explain } = options;
  const start = Date.now();
  for (let tries = 1;; tries++) {
    let failure: unknown;
    try {
      const result = await check();
      if (isNotFalse(result)) return result;
      failure = new Error("it returned false");
    } catch (error) {
      failure = error;
    }
    if (Date.now() - start >= timeout) {
      const reason = failure instanceof Error ? failure.message : String(failure);
      const message = `waited ${timeout} ms (${tries} tries) for ${what}: ${reason}`;
      const more = await explain?.();
      throw new Error(more === undefined ? message : `${message}\n${more}`, { cause: failure });
    }
    await delay(interval);
  }
}

function isNotFalse<T>(value: T): value is Exclude<T, false> {
  return value !== false;
}
