import { Buffer } from "node:buffer";

/** Writes pgoutput's messages as a server does; the counterpart of src/replication/pgoutput.ts for its tests. */

/** A value of a row: its text, NULL, or not sent. */
export type Value = string | null | undefined;

export interface Column {
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  readonly isKey: boolean;
}

export function byte(value: string | number): Buffer {
  return Buffer.of(typeof value === "string" ? value.charCodeAt(0) : value);
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
}

export function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt.asIntN(64, value));
  return bytes;
}

export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

export function tuple(values: readonly Value[]): Buffer {
  const parts = [int16(values.length)];
  for (const value of values) {
    if (value === null) parts.push(byte("n"));
    else if (value === undefined) parts.push(byte("u"));
    else parts.push(byte("t"), int32(Buffer.byteLength(value)), Buffer.from(value));
  }
  return Buffer.concat(parts);
}

export const encode = {
  begin: (finalLsn: bigint, microseconds: bigint, xid: number) =>
    Buffer.concat([byte("B"), int64(finalLsn), int64(microseconds), int32(xid)]),
  commit: (commitLsn: bigint, endLsn: bigint, microseconds: bigint) =>
    Buffer.concat([byte("C"), byte(0), int64(commitLsn), int64(endLsn), int64(microseconds)]),
  relation: (id: number, schema: string, table: string, identity: string, columns: readonly Column[]) =>
    Buffer.concat([
      byte("R"),
      int32(id),
      text(schema),
      text(table),
      byte(identity),
      int16(columns.length),
      ...columns.flatMap((column) => [
        byte(column.isKey ? 1 : 0),
        text(column.name),
        int32(column.typeOid),
        int32(column.typeModifier),
      ]),
    ]),
  insert: (id: number, row: readonly Value[]) => Buffer.concat([byte("I"), int32(id), byte("N"), tuple(row)]),
  update: (id: number, kind: "K" | "O" | null, old: readonly Value[], row: readonly Value[]) =>
    Buffer.concat([
      byte("U"),
      int32(id),
      ...(kind === null ? [] : [byte(kind), tuple(old)]),
      byte("N"),
      tuple(row),
    ]),
  delete: (id: number, kind: "K" | "O", old: readonly Value[]) =>
    Buffer.concat([byte("D"), int32(id), byte(kind), tuple(old)]),
  truncate: (ids: readonly number[], options: number) =>
    Buffer.concat([byte("T"), int32(ids.length), byte(options), ...ids.map(int32)]),
  type: (oid: number, schema: string, name: string) =>
    Buffer.concat([byte("Y"), int32(oid), text(schema), text(name)]),
  origin: (lsn: bigint, name: string) => Buffer.concat([byte("O"), int64(lsn), text(name)]),
  message: (transactional: boolean, lsn: bigint, prefix: string, content: Buffer) =>
    Buffer.concat([
      byte("M"),
      byte(transactional ? 1 : 0),
      int64(lsn),
      text(prefix),
      int32(content.length),
      content,
    ]),
};
