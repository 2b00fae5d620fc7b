import type { PostgresOptions } from "./options.ts";
import { sqlStateOf } from "./errors.ts";

/** How long nobody logs in after a login was refused, and how long at most, however often it was. */
const SHUT_FOR_MS = 30_000;
const LONGEST_SHUT_MS = 300_000;

/**
 * Keeps the many sessions of a run from trying a password again and again that the server takes no more: whoever fails to log in
 * again and again is locked out (fail2ban, managed services). It opens anew by itself, for the password may be set back. Before
 * the first login that succeeds it is no matter, for a run does not try again then.
 */
export class LoginGate {
  #hasPassed = false;
  #refusals = 0;
  #shutUntil = 0;
  #reason: Error | null = null;

  /** @param now tells the time in milliseconds */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Why nobody is to log in now; null where somebody may try. */
  get shut(): Error | null {
    return this.now() < this.#shutUntil ? this.#reason : null;
  }

  /** A login succeeded. */
  passed(): void {
    this.#hasPassed = true;
    this.#refusals = 0;
    this.#shutUntil = 0;
  }

  /** The server ended a login with an error. Only one about user and password counts (class 28). */
  refused(reason: Error): void {
    if (!this.#hasPassed || sqlStateOf(reason)?.startsWith("28") !== true || this.shut !== null) return;
    this.#reason = reason;
    this.#shutUntil = this.now() + Math.min(SHUT_FOR_MS * 2 ** this.#refusals, LONGEST_SHUT_MS);
    this.#refusals += 1;
  }
}

const gates = new WeakMap<PostgresOptions, LoginGate>();

/** The gate that all who log in with the same options share. */
export function gateOf(options: PostgresOptions): LoginGate {
  let gate = gates.get(options);
  if (gate === undefined) gates.set(options, gate = new LoginGate());
  return gate;
}
