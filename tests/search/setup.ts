/** What the tests of this folder share. */
import { Buffer } from "node:buffer";
import { BulkBody, type BulkRequest } from "../../src/search/bulk_body.ts";
import type { IndexMeta } from "../../src/search/index_meta.ts";
import type { SearchOptions } from "../../src/search/options.ts";

/** Options for a server without security. */
export function optionsFor(url: string, changes: Partial<SearchOptions> = {}): SearchOptions {
  return {
    urls: [url],
    login: { kind: "none" },
    verifyCertificates: true,
    caCertificate: null,
    caFingerprint: null,
    clientCertificate: null,
    clientKey: null,
    opaqueId: null,
    compress: false,
    timeoutSeconds: 10,
    ...changes,
  };
}

export const META: IndexMeta = {
  schemaHash: "3f2a",
  database: "bookshop",
  systemIdentifier: "7412345678901234567",
  loaded: false,
  createdBy: "0.1.0",
  description: "{}",
};

/** A document to write, or the deletion of one (`null`). */
export type Write = readonly [id: string, version: bigint, document: unknown];

/** A bulk request of documents (written as JSON; a string as it is) and deletions (`null`). */
export function bulk(...writes: readonly Write[]): BulkRequest {
  const body = new BulkBody();
  for (const [id, version, document] of writes) {
    if (document === null) body.delete(id, version);
    else {body.index(
        id,
        version,
        Buffer.from(typeof document === "string" ? document : JSON.stringify(document)),
      );}
  }
  return body.take(Date.now());
}

/** A signal that nobody aborts. */
export const NEVER = new AbortController().signal;
