/**
 * Log sequence numbers: byte positions in the write-ahead log, 64 bits, held as bigint.
 * PostgreSQL prints them as two hexadecimal halves, `16/B374D848`
 * (https://www.postgresql.org/docs/current/datatype-pg-lsn.html).
 */

/** A position in the write-ahead log. */
export type Lsn = bigint;

const PATTERN = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/**
 * Reads PostgreSQL's text form of an LSN.
 *
 * @throws RangeError where the text is not an LSN
 */
export function parseLsn(text: string): Lsn {
  const match = PATTERN.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) throw new RangeError(`not an LSN: ${text}`);
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** Prints an LSN as PostgreSQL does: `0/0` upwards, no leading zeros. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xFFFFFFFFn).toString(16).toUpperCase()}`;
}
