import { Buffer } from "node:buffer";
import type { RootKey } from "./root_keys.ts";

const FIRST_KEYS = 8;
const FIRST_BYTES = 64;
/** Slots for each key that there is room for: the table is half full at most, so that searches stay short. */
const SLOTS_A_KEY = 2;

/**
 * A set of root keys, or of link values joined as they are, in the order in which they came.
 *
 * A `Set` of strings takes (by estimate) some 110 bytes for a short key and hands the collector as many objects as it has keys, again and again.
 * Here all texts lie in one buffer, with a hash table of their numbers beside it: a key takes its length and 12 to 24 bytes
 * more, and the collector sees three objects. Strings are made when keys are asked for, a page at a time.
 */
export class KeySet implements Iterable<RootKey> {
  /** The texts in UTF-8, one after the other. They come from PostgreSQL, so they hold no lone surrogates. */
  #texts = Buffer.allocUnsafeSlow(FIRST_BYTES);
  /** Where the text of each key ends; it begins where the one before ends. */
  #ends = new Uint32Array(FIRST_KEYS);
  /** Number of a key plus one, or 0; a power of two long, searched from the hash of the text on. */
  #slots = new Uint32Array(FIRST_KEYS * SLOTS_A_KEY);
  #size = 0;

  /** How many keys there are. */
  get size(): number {
    return this.#size;
  }

  /** The memory that it takes. */
  get bytes(): number {
    return this.#texts.length + this.#ends.byteLength + this.#slots.byteLength;
  }

  /** Adds a key. @returns false where it was there */
  add(key: RootKey): boolean {
    const start = this.#endOf(this.#size - 1);
    const end = this.#write(key, start);
    let slot = this.#slotOf(start, end);
    if (this.#slots[slot] !== 0) return false;
    if (this.#size === this.#ends.length) {
      this.#grow();
      slot = this.#slotOf(start, end);
    }
    this.#ends[this.#size] = end;
    this.#slots[slot] = ++this.#size;
    return true;
  }

  /** Whether a key is there. */
  has(key: RootKey): boolean {
    const start = this.#endOf(this.#size - 1);
    return this.#slots[this.#slotOf(start, this.#write(key, start))] !== 0;
  }

  /** Forgets all keys, and keeps the memory. */
  clear(): void {
    this.#slots.fill(0);
    this.#size = 0;
  }

  /** The keys in pages. @param length keys in a page */
  *pages(length: number): Generator<RootKey[]> {
    for (let from = 0; from < this.#size; from += length) {
      const page: RootKey[] = [];
      const to = Math.min(from + length, this.#size);
      for (let number = from; number < to; number++) page.push(this.#key(number));
      yield page;
    }
  }

  *[Symbol.iterator](): Generator<RootKey> {
    for (let number = 0; number < this.#size; number++) yield this.#key(number);
  }

  #key(number: number): RootKey {
    return this.#texts.toString("utf8", this.#endOf(number - 1), this.#endOf(number));
  }

  #endOf(number: number): number {
    return number < 0 ? 0 : this.#ends[number] ?? 0;
  }

  /**
   * Writes a text behind those of the keys, for only bytes can be compared with bytes. Unless the key is added, the next text
   * is written over it.
   *
   * @returns where it ends
   */
  #write(key: RootKey, start: number): number {
    // A UTF-16 unit is at most three bytes of UTF-8.
    const most = start + key.length * 3;
    if (most > this.#texts.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(most, this.#texts.length * 2));
      this.#texts.copy(larger, 0, 0, start);
      this.#texts = larger;
    }
    return start + this.#texts.write(key, start, "utf8");
  }

  /** The slot of the key with the text that lies there, or the free one where it belongs. */
  #slotOf(start: number, end: number): number {
    const texts = this.#texts;
    // FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/), its upper bits mixed into the lower.
    let hash = 0x811c9dc5;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ (texts[at] ?? 0), 0x01000193);
    const mask = this.#slots.length - 1;
    for (let slot = (hash ^ (hash >>> 15)) & mask;; slot = (slot + 1) & mask) {
      const found = this.#slots[slot] ?? 0;
      if (found === 0 || this.#isText(found - 1, start, end)) return slot;
    }
  }

  #isText(number: number, start: number, end: number): boolean {
    const from = this.#endOf(number - 1);
    const length = end - start;
    if (this.#endOf(number) - from !== length) return false;
    for (let at = 0; at < length; at++) {
      if (this.#texts[from + at] !== this.#texts[start + at]) return false;
    }
    return true;
  }

  #grow(): void {
    const ends = new Uint32Array(this.#ends.length * 2);
    ends.set(this.#ends);
    this.#ends = ends;
    this.#slots = new Uint32Array(ends.length * SLOTS_A_KEY);
    for (let number = 0; number < this.#size; number++) {
      this.#slots[this.#slotOf(this.#endOf(number - 1), this.#endOf(number))] = number + 1;
    }
  }
}
