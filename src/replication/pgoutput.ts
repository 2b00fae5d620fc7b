import { PgsyncError } from "../errors/error.ts";
import type {
  Begin,
  Commit,
  Delete,
  Insert,
  LogicalMessage,
  Origin,
  PgoutputMessage,
  Relation,
  RelationColumn,
  ReplicaIdentity,
  Truncate,
  TypeDescription,
  Update,
} from "./pgoutput_types.ts";
import { NOT_SENT, NULL_VALUE, Tuple } from "./tuple.ts";

/**
 * The messages of PostgreSQL's output plugin `pgoutput`, protocol version 1, values as text
 * (https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html).
 */

/** 2000-01-01 in milliseconds since 1970: PostgreSQL counts from there, in microseconds. */
const POSTGRES_EPOCH_MS = 946_684_800_000;

const TAG = {
  begin: 0x42, // B
  commit: 0x43, // C
  insert: 0x49, // I
  update: 0x55, // U
  delete: 0x44, // D
  truncate: 0x54, // T
  relation: 0x52, // R
  type: 0x59, // Y
  origin: 0x4f, // O
  message: 0x4d, // M
} as const;

const NEW_ROW = 0x4e; // N
const OLD_KEY = 0x4b; // K
const OLD_ROW = 0x4f; // O
const VALUE_NULL = 0x6e; // n
const VALUE_UNCHANGED = 0x75; // u
const VALUE_TEXT = 0x74; // t

const REPLICA_IDENTITIES: ReadonlyMap<number, ReplicaIdentity> = new Map([
  [0x64, "default"], // d
  [0x6e, "nothing"], // n
  [0x66, "full"], // f
  [0x69, "index"], // i
]);

/**
 * Decodes the messages of one replication session. It remembers the relations, for changes name them by number only; so each
 * session needs a decoder of its own.
 */
export class PgoutputDecoder {
  readonly #relations = new Map<number, Relation>();
  #bytes: Buffer = Buffer.alloc(0);
  #position = 0;

  /**
   * Decodes one message. Tuples are views on `bytes`; see `Tuple` for how long they are valid.
   *
   * @param bytes one whole message, as one XLogData frame carries it
   * @throws PgsyncError REPLICATION_PROTOCOL for an unknown message and for bytes that do not make a whole one
   */
  decode(bytes: Buffer): PgoutputMessage {
    this.#bytes = bytes;
    this.#position = 0;
    let message: PgoutputMessage;
    try {
      message = this.#message();
    } catch (error) {
      // Buffer's read methods throw it for any access beyond the last byte.
      if (error instanceof RangeError) throw this.#malformed("it is cut off");
      throw error;
    }
    if (this.#position !== bytes.length) {
      throw this.#malformed(`${bytes.length - this.#position} bytes are left over`);
    }
    return message;
  }

  #message(): PgoutputMessage {
    const tag = this.#byte();
    switch (tag) {
      case TAG.insert:
        return this.#insert();
      case TAG.update:
        return this.#update();
      case TAG.delete:
        return this.#delete();
      case TAG.begin:
        return this.#begin();
      case TAG.commit:
        return this.#commit();
      case TAG.relation:
        return this.#relation();
      case TAG.truncate:
        return this.#truncate();
      case TAG.type:
        return this.#type();
      case TAG.origin:
        return this.#origin();
      case TAG.message:
        return this.#logicalMessage();
      default:
        throw this.#malformed("nothing of that kind is known");
    }
  }

  #begin(): Begin {
    return { kind: "begin", finalLsn: this.#lsn(), commitTimeMs: this.#time(), xid: this.#uint32() };
  }

  #commit(): Commit {
    this.#byte(); // flags, unused
    return { kind: "commit", commitLsn: this.#lsn(), endLsn: this.#lsn(), commitTimeMs: this.#time() };
  }

  #insert(): Insert {
    const relation = this.#knownRelation();
    if (this.#byte() !== NEW_ROW) throw this.#malformed("the new row is missing");
    return { kind: "insert", relation, newTuple: this.#tuple(relation, false) };
  }

  #update(): Update {
    const relation = this.#knownRelation();
    let part = this.#byte();
    let oldTuple: Tuple | null = null;
    if (part === OLD_KEY || part === OLD_ROW) {
      oldTuple = this.#tuple(relation, part === OLD_KEY);
      part = this.#byte();
    }
    if (part !== NEW_ROW) throw this.#malformed("the new row is missing");
    return { kind: "update", relation, oldTuple, newTuple: this.#tuple(relation, false) };
  }

  #delete(): Delete {
    const relation = this.#knownRelation();
    const part = this.#byte();
    if (part !== OLD_KEY && part !== OLD_ROW) throw this.#malformed("the old row is missing");
    return { kind: "delete", relation, oldTuple: this.#tuple(relation, part === OLD_KEY) };
  }

  #truncate(): Truncate {
    const count = this.#uint32();
    const options = this.#byte();
    // Four bytes each: a count beyond the message's end must not make a giant array first.
    if (count * 4 > this.#bytes.length - this.#position) throw this.#malformed("it is cut off");
    const relations: Relation[] = [];
    for (let index = 0; index < count; index++) relations.push(this.#knownRelation());
    return {
      kind: "truncate",
      relations,
      cascade: (options & 1) !== 0,
      restartIdentity: (options & 2) !== 0,
    };
  }

  #relation(): Relation {
    const relationId = this.#uint32();
    // pgoutput sends an empty text for pg_catalog.
    const schema = this.#string() || "pg_catalog";
    const table = this.#string();
    const replicaIdentity = REPLICA_IDENTITIES.get(this.#byte());
    if (replicaIdentity === undefined) throw this.#malformed("its replica identity is unknown");
    const count = this.#uint16();
    const columns: RelationColumn[] = [];
    for (let index = 0; index < count; index++) {
      columns.push({
        isKey: (this.#byte() & 1) !== 0,
        name: this.#string(),
        typeOid: this.#uint32(),
        typeModifier: this.#int32(),
      });
    }
    const relation: Relation = { kind: "relation", relationId, schema, table, replicaIdentity, columns };
    this.#relations.set(relationId, relation);
    return relation;
  }

  #type(): TypeDescription {
    return {
      kind: "type",
      typeOid: this.#uint32(),
      schema: this.#string() || "pg_catalog",
      name: this.#string(),
    };
  }

  #origin(): Origin {
    return { kind: "origin", commitLsn: this.#lsn(), name: this.#string() };
  }

  #logicalMessage(): LogicalMessage {
    const transactional = (this.#byte() & 1) !== 0;
    const lsn = this.#lsn();
    const prefix = this.#string();
    const length = this.#uint32();
    const content = this.#bytes.subarray(this.#position, this.#position + length);
    if (content.length !== length) throw this.#malformed("it is cut off");
    this.#position += length;
    return { kind: "message", transactional, lsn, prefix, content };
  }

  #knownRelation(): Relation {
    const relationId = this.#uint32();
    const relation = this.#relations.get(relationId);
    if (relation === undefined) throw this.#malformed(`relation ${relationId} was not described before`);
    return relation;
  }

  /**
   * @param keyOnly the server writes NULL for every column outside the key, which must not be taken for a value
   */
  #tuple(relation: Relation, keyOnly: boolean): Tuple {
    const bytes = this.#bytes;
    const count = this.#uint16();
    if (count !== relation.columns.length) {
      throw this.#malformed(`a row has ${count} columns, its relation ${relation.columns.length}`);
    }
    const offsets = new Array<number>(count);
    let position = this.#position;
    for (let index = 0; index < count; index++) {
      const kind = bytes[position++];
      if (kind === VALUE_TEXT) {
        const length = bytes.readInt32BE(position);
        position += 4;
        offsets[index] = position;
        if (length < 0 || length > bytes.length - position) throw this.#malformed("it is cut off");
        position += length;
      } else if (kind === VALUE_NULL) {
        offsets[index] = keyOnly && relation.columns[index]?.isKey !== true ? NOT_SENT : NULL_VALUE;
      } else if (kind === VALUE_UNCHANGED) {
        offsets[index] = NOT_SENT;
      } else {
        throw this.#malformed("a value has an unknown form");
      }
    }
    this.#position = position;
    return new Tuple(bytes, offsets);
  }

  #byte(): number {
    const value = this.#bytes.readUInt8(this.#position);
    this.#position += 1;
    return value;
  }

  #uint16(): number {
    const value = this.#bytes.readUInt16BE(this.#position);
    this.#position += 2;
    return value;
  }

  #uint32(): number {
    const value = this.#bytes.readUInt32BE(this.#position);
    this.#position += 4;
    return value;
  }

  #int32(): number {
    const value = this.#bytes.readInt32BE(this.#position);
    this.#position += 4;
    return value;
  }

  #lsn(): bigint {
    const value = this.#bytes.readBigUInt64BE(this.#position);
    this.#position += 8;
    return value;
  }

  /** Microseconds since 2000 fit into a double's 53 bits until the year 2285. */
  #time(): number {
    const microseconds = this.#bytes.readBigInt64BE(this.#position);
    this.#position += 8;
    return POSTGRES_EPOCH_MS + Number(microseconds) / 1000;
  }

  #string(): string {
    const end = this.#bytes.indexOf(0, this.#position);
    if (end < 0) throw this.#malformed("a text has no end");
    const text = this.#bytes.toString("utf8", this.#position, end);
    this.#position = end + 1;
    return text;
  }

  #malformed(what: string): PgsyncError {
    const tag = this.#bytes[0];
    const name = tag === undefined ? "An empty message" : `A message of kind 0x${tag.toString(16)}`;
    return new PgsyncError(
      "REPLICATION_PROTOCOL",
      `${name} in the replication stream cannot be read: ${what}.`,
    );
  }
}
