import { existsSync } from "node:fs";
import { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { PgsyncError } from "../../errors/error.ts";
import { connectPostgres } from "../../postgres/connect.ts";
import { oneServer } from "../../postgres/server_identity.ts";
import { dropPublication } from "../../replication/publication.ts";
import { dropSlot } from "../../replication/slot_drop.ts";
import type { DocumentSchema } from "../../schema/tree.ts";
import { connectSearch, type SearchClient } from "../../search/client.ts";
import { dropIndex } from "../../search/index.ts";
import { checkpointPath } from "./checkpoint_path.ts";
import { byDatabase, slotName } from "../database_mapping.ts";
import { readFirst } from "./first_read.ts";
import type { Report } from "./make_missing.ts";
import type { RunOptions } from "../options.ts";
import { Preparation } from "./preparation.ts";

export type { Report };

/**
 * Makes what a run needs: publications, replica identities, slots and indices. What is there stays; nothing is made
 * where something is found that would stop the run. Where changes are lost, it does as a start with --bootstrap.
 *
 * @throws PgsyncError
 */
export async function bootstrap(options: RunOptions, report: Report): Promise<void> {
  const run = { ...options, bootstrap: true };
  const { signal } = new AbortController();
  const search = await connectSearch(run.search);
  try {
    const preparation = new Preparation({
      ...{ run, search: Promise.resolve(search), report },
      onLoss: (_, sentence) => report(sentence),
    });
    for (const [database, documents] of byDatabase(run.schema.documents)) {
      const admin = connectPostgres(run.postgres, {
        ...{ database, purpose: "bootstrap", max: 1, kind: "admin" },
        admit: oneServer(run.postgres),
      });
      try {
        const name = slotName(run.slot, database);
        const path = checkpointPath(run, name);
        const state = await readFirst(admin, { database, documents, slotName: name, path, bootstrap: true });
        using checkpoint = Checkpoint.open(path);
        const loss = await preparation.judge(admin, state, checkpoint, signal);
        await preparation.carryOut(admin, state, loss, checkpoint, signal);
      } finally {
        await admin.end({ timeout: 1 });
      }
    }
  } finally {
    await search.close();
  }
}

/**
 * Removes what bootstrap made: slots, publications, indices, checkpoint files. Replica identities stay as they are, for
 * nobody knows what they were before.
 *
 * @throws PgsyncError
 */
export async function teardown(options: RunOptions, report: Report): Promise<void> {
  const search = await connectSearch(options.search);
  try {
    for (const [database, documents] of byDatabase(options.schema.documents)) {
      const name = slotName(options.slot, database);
      await teardownDatabase(options, database, name, report);
      await teardownIndices(search, documents, report);
    }
  } finally {
    await search.close();
  }
}

async function teardownDatabase(
  options: RunOptions,
  database: string,
  name: string,
  report: Report,
): Promise<void> {
  const admin = connectPostgres(options.postgres, {
    ...{ database, purpose: "teardown", max: 1, kind: "admin" },
    admit: oneServer(options.postgres),
  });
  try {
    const path = checkpointPath(options, name);
    const hadFile = existsSync(path);
    if (hadFile) {
      using checkpoint = Checkpoint.open(path);
      checkpoint.checkOwner({ database, slot: name });
    }
    if (await dropSlot(admin, name)) report(`dropped the replication slot "${name}"`);
    if (await dropPublication(admin, name)) report(`dropped the publication "${name}"`);
    Checkpoint.remove(path);
    if (hadFile) report(`removed the checkpoint file ${path}`);
  } finally {
    await admin.end({ timeout: 1 });
  }
}

async function teardownIndices(
  search: SearchClient,
  documents: readonly DocumentSchema[],
  report: Report,
): Promise<void> {
  for (const { index } of documents) {
    const { dropped, foreign } = await dropIndex(search, index);
    for (const generation of dropped) report(`removed the index "${generation}"`);
    if (foreign.length > 0) {
      throw new PgsyncError(
        "INDEX_FOREIGN",
        `The index "${foreign.join('", "')}" was not made by this program and was left alone.`,
        { remedy: "Remove it by hand if it is not needed." },
      );
    }
  }
}
