import { PgsyncError } from "../errors/error.ts";
import { connectPostgres, type Sql } from "../postgres/connect.ts";
import { postgresError, sqlStateOf } from "../postgres/errors.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import { onlyServer, type ServerIdentity } from "../postgres/server_identity.ts";
import { describePublication } from "./publication.ts";
import { assertUsableSlot, inspectSlot, slotActiveError } from "./slot.ts";

const UNDEFINED_OBJECT = "42704";

/** Which stream is in question. */
export interface StreamIdentity {
  readonly options: PostgresOptions;
  readonly database: string;
  readonly slot: string;
  readonly publication: string;
  /** The server that is followed: what another one says of the slot means nothing. Left out: whichever it is. */
  readonly server?: ServerIdentity;
}

/**
 * Why a stream did not start or ended. The server often only closes the connection, and its SQLSTATEs are shared by different causes (42704 may be the slot
 * or the publication); so the catalogs are asked on another connection, of the server that is followed and of no other.
 *
 * @param stood the stream had begun: what the server refuses then is not our request
 * @returns SLOT_MISSING, SLOT_LOST, SLOT_MISMATCH, SLOT_ACTIVE, PUBLICATION_MISSING where the catalogs say so, SERVER_CHANGED where another server
 *   answers, DECODING_ERROR, else what `postgresError` makes of the error
 */
export async function classifyStreamError(
  thrown: unknown,
  stream: StreamIdentity,
  stood: boolean,
): Promise<PgsyncError> {
  const { options, database, slot, publication, server } = stream;
  const plain = postgresError(thrown, { options, database, doing: `stream from the slot "${slot}"` });
  const error = stood ? whileDecoding(plain) : plain;
  // Ours already, or there is nobody to ask.
  if (thrown instanceof PgsyncError || error.code === "POSTGRES_LOGIN" || error.code === "INTERNAL") {
    return error;
  }
  if (isSilence(thrown)) return error;
  const sql = connectPostgres(options, {
    ...{ database, purpose: "diagnosis", max: 1, kind: "admin" },
    ...(server === undefined ? {} : { admit: onlyServer(options, server) }),
  });
  try {
    const state = await inspectSlot(sql, slot);
    assertUsableSlot(state, slot, database);
    if (sqlStateOf(thrown) === "55006") return slotActiveError(slot, state, thrown);
    if (await isPublicationMissing(sql, publication)) {
      return new PgsyncError("PUBLICATION_MISSING", `The publication "${publication}" does not exist.`, {
        cause: thrown,
      });
    }
    // The slot is there and usable, so it is the publication that the server does not find.
    if (sqlStateOf(thrown) === UNDEFINED_OBJECT) return madeTooLate(publication, slot, thrown);
    return error;
  } catch (finding) {
    // What the catalogs said, or that they could not be asked: then the first error tells more.
    return finding instanceof PgsyncError ? finding : error;
  } finally {
    await sql.end({ timeout: 0 });
  }
}

/** Whoever does not answer would not answer us either. */
function isSilence(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "ETIMEDOUT";
}

/** An error of the server's that is not about its state comes of what it decodes. */
function whileDecoding(error: PgsyncError): PgsyncError {
  const isInternal = sqlStateOf(error.cause) === "XX000";
  if (error.code !== "POSTGRES_QUERY" && !isInternal) return error;
  return new PgsyncError("DECODING_ERROR", error.message, { cause: error.cause });
}

/** The server reads catalogs as they were at the slot's position. */
function madeTooLate(publication: string, slot: string, cause: unknown): PgsyncError {
  return new PgsyncError(
    "PUBLICATION_MISSING",
    `The publication "${publication}" was made after the position of the slot "${slot}", where the server does not find it.`,
    {
      remedy:
        "Start with --bootstrap, or with --on-slot-loss resync: a new slot is made, and the documents are loaded anew in place.",
      cause,
    },
  );
}

async function isPublicationMissing(sql: Sql, publication: string): Promise<boolean> {
  // The version tells whether a publication can hold whole schemas; that does not matter here.
  return await describePublication(sql, publication, 0) === null;
}
