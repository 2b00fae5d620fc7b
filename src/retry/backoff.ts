/** How long to wait before the next attempt; used by everything that tries again (PostgreSQL, the stream, the search engine). */

/** Limits of a backoff, in milliseconds. */
export interface BackoffLimits {
  /** Upper limit of the first wait. */
  readonly baseMs: number;
  /** Upper limit of every wait. */
  readonly capMs: number;
}

/**
 * Milliseconds to wait after a failed attempt: exponential with full jitter, that is evenly spread between 0 and
 * `min(cap, base * 2^attempt)`, which keeps many clients from coming back together
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 *
 * @param attempt how many attempts have failed in a row before this one: 0, 1, 2 …
 * @param random a number from 0 to below 1; for tests
 */
export function backoffDelay(
  attempt: number,
  limits: BackoffLimits,
  random: () => number = Math.random,
): number {
  const exponential = limits.baseMs * 2 ** Math.min(Math.max(0, attempt), 60);
  return Math.floor(random() * Math.min(limits.capMs, exponential));
}

/**
 * Waits; an abort ends the wait at once.
 *
 * @param ms milliseconds, at most 2^31 - 1
 * @throws the signal's reason, where it is or becomes aborted
 */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Waits; an abort ends the wait and is no error. @param ms as `delay` */
export async function delayOrAbort(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, signal);
  } catch (reason) {
    if (!signal.aborted) throw reason;
  }
}
