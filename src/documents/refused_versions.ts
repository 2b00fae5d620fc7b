/**
 * How long a refusal is remembered. Documents that are older than 30 s are not sent, and a request that hangs ends with its
 * timeout; so by then nothing is on its way that was built before.
 */
const REMEMBERED_MS = 15 * 60_000;

/**
 * The versions of documents that were refused lately. A build that is older may still be on its way (of a chunk of the load, of
 * a large batch): when it is taken, the index holds an old state, and the newer one is a dead letter still.
 */
export class RefusedVersions {
  /** By id, in the order of their refusal. */
  readonly #refused = new Map<string, { readonly version: bigint; readonly at: number }>();

  /** @param now tells the time in milliseconds */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** How many are remembered. */
  get size(): number {
    return this.#refused.size;
  }

  /** Remembers that a document was refused in this version. */
  add(id: string, version: bigint): void {
    const known = this.#refused.get(id);
    this.#refused.delete(id);
    const newest = known !== undefined && known.version > version ? known.version : version;
    this.#refused.set(id, { version: newest, at: this.now() });
    for (const [oldest, { at }] of this.#refused) {
      if (this.now() - at <= REMEMBERED_MS) break;
      this.#refused.delete(oldest);
    }
  }

  /**
   * Whether a document that was taken in this version takes the place of what was refused; then it is forgotten. True where
   * nothing was.
   */
  settles(id: string, version: bigint): boolean {
    const known = this.#refused.get(id);
    if (known !== undefined && known.version > version) return false;
    this.#refused.delete(id);
    return true;
  }
}
