/**
 * Waits for a promise, but no longer than until the abort. What the promise does afterwards is its own matter: the caller
 * sees to it that it ends (by closing a connection, say), and that nobody minds how.
 *
 * @throws what the promise rejects with; the signal's reason
 */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  // Only one of the two is waited for in the end.
  promise.catch(() => {});
  aborted.catch(() => {});
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
