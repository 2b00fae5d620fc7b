import { checkServer } from "../../catalog/checks.ts";
import type { MaterializedView, Relation } from "../../catalog/types.ts";
import { PgsyncError } from "../../errors/error.ts";
import type { IdentityNeed } from "../../mapping/replica_identity.ts";
import { quoteIdentifier, quoteQualified } from "../../postgres/quote.ts";
import { assertUsableSlot } from "../../replication/slot.ts";
import { type DatabaseState, unpublishedTables } from "../database_state.ts";
import { materializedViews, refreshSql } from "../source/materialized_views.ts";
import { publicationStatements } from "./setup_statements.ts";

/**
 * What keeps a run from starting, when bootstrap may make what is missing (and the role has the right to), or may not.
 *
 * @param goesOn the run was going on: a partition that was made meanwhile may lack its identity (the stream's reader
 * reckons with that), and must not end it; nor must walsenders that are all taken for a moment
 * @returns errors with remedies; empty when all is well
 */
export function setupProblems(
  state: DatabaseState,
  withBootstrap: boolean,
  goesOn = false,
): PgsyncError[] {
  const { mapping, slotName: name, publication, slot } = state;
  const { server } = mapping.catalog;
  const lacking = unpublishedTables(state);
  const problems = checkServer(server, {
    slot: withBootstrap && slot === null,
    publication: withBootstrap && publication === null,
    // A walsender that is about to end may still be counted; the stream itself waits for a free one, as it did when it was cut off.
    walSenders: goesOn || slot?.active === true ? 0 : 1,
  });
  const identities = mapping.identities.filter((need) => goesOn ? need.lacksItself : need.sql.length > 0);
  problems.push(
    ...identities
      .filter((need) => !withBootstrap || !need.relation.isOwner)
      .map((need) => identityProblem(need, server.role)),
  );
  problems.push(...generatedProblems(state, withBootstrap));
  for (const view of materializedViews(mapping.documents)) {
    if (!view.populated && !view.mayRefresh) problems.push(emptyViewProblem(view, server.role));
  }
  if (lacking.length > 0) {
    const notOwned = mapping.tables.filter((table) => !table.isOwner);
    if (!withBootstrap) {
      problems.push(publicationProblem(name, publication === null, lacking.map(quoteQualified)));
    } else if (notOwned.length > 0) problems.push(ownerProblem(state, notOwned));
  }
  if (slot !== null || !withBootstrap) {
    try {
      assertUsableSlot(slot, name, state.database);
    } catch (thrown) {
      if (!(thrown instanceof PgsyncError)) throw thrown;
      problems.push(thrown);
    }
  }
  return problems;
}

/**
 * Tables whose rows PostgreSQL (18 and later) would refuse to update and delete, or refuses already: their replica identity
 * is FULL, or is about to be, and a publication leaves out their generated columns.
 */
function generatedProblems(state: DatabaseState, withBootstrap: boolean): PgsyncError[] {
  const { mapping, publication, slotName, generatedLeftOut } = state;
  const whole = mapping.tables.filter((relation) => {
    const need = mapping.identities.find((each) => each.relation === relation);
    const statements = need?.sql ?? [];
    return relation.columns.some((column) => column.generated && column.virtual !== true) &&
      (statements.some((statement) => statement.endsWith(" FULL")) ||
        isWhole(relation) && statements.length === 0);
  });
  const others = generatedLeftOut.filter((member) =>
    whole.some((relation) =>
      [relation, ...relation.heaps].some((table) => quoteQualified(table) === quoteQualified(member))
    )
  );
  const own = publication?.generatedColumns === false && !withBootstrap && whole.length > 0
    ? whole.slice(0, 1).map(({ schema, table }) => ({ publication: slotName, schema, table }))
    : [];
  return [...own, ...others].map((member) =>
    new PgsyncError(
      "REPLICA_IDENTITY",
      `The publication "${member.publication}" leaves out the generated columns of ${
        quoteQualified(member)
      }: with the ` +
        "replica identity FULL that its link columns need, PostgreSQL would refuse to update and delete its rows.",
      {
        remedy:
          `Run: ALTER PUBLICATION ${
            quoteIdentifier(member.publication)
          } SET (publish_generated_columns = stored); ` +
          "or give the table a unique index over NOT NULL columns that holds its link columns.",
      },
    )
  );
}

function isWhole(relation: Relation): boolean {
  return [relation, ...relation.heaps].some((table) => table.replicaIdentity.kind === "full");
}

function identityProblem(need: IdentityNeed, role: string): PgsyncError {
  const table = quoteQualified(need.relation);
  const owner = need.relation.isOwner
    ? ""
    : ` Role "${role}" does not own it; its owner is "${need.relation.owner}".`;
  return new PgsyncError(
    "REPLICA_IDENTITY",
    `The replica identity of ${table} does not carry ${
      need.columns.map((column) => `"${column}"`).join(", ")
    }: ` +
      `${need.reason}.${owner}`,
    {
      remedy: need.relation.isOwner
        ? `Start with --bootstrap, or run: ${need.sql.join("; ")};`
        : `Have "${need.relation.owner}" run: ${need.sql.join("; ")};`,
    },
  );
}

function emptyViewProblem(view: MaterializedView, role: string): PgsyncError {
  return new PgsyncError(
    "PRIVILEGE_MISSING",
    `The materialised view ${quoteQualified(view)} holds nothing yet, and role "${role}" may not refresh it.`,
    { remedy: `Have "${view.owner}" run: ${refreshSql(view)}` },
  );
}

function publicationProblem(name: string, absent: boolean, lacking: readonly string[]): PgsyncError {
  return new PgsyncError(
    "PUBLICATION_MISSING",
    absent
      ? `The publication "${name}" does not exist.`
      : `The publication "${name}" does not carry all changes of ${lacking.join(", ")}.`,
  );
}

function ownerProblem(state: DatabaseState, notOwned: readonly Relation[]): PgsyncError {
  const { slotName: name, publication, mapping } = state;
  const sql = publicationStatements(state).join(" ");
  return new PgsyncError(
    "PRIVILEGE_MISSING",
    `Role "${mapping.catalog.server.role}" does not own ${notOwned.map(quoteQualified).join(", ")}, ` +
      `and only the owner may publish a table.`,
    {
      remedy: `Have a superuser run: ${sql}` +
        (publication === null
          ? ` ALTER PUBLICATION ${quoteIdentifier(name)} OWNER TO ${
            quoteIdentifier(mapping.catalog.server.role)
          };`
          : ""),
    },
  );
}
