import { type IndexVerification, remaining, type VerifiedDifference } from "../verify/verification.ts";
import { formatCount } from "../status/figures.ts";
import { inOneLine } from "./format.ts";

/** What was found out of an index, for people. */
export function describeVerification(verification: IndexVerification): string {
  const { index, compared, listed, repaired, differences } = verification;
  const left = remaining(verification);
  const kinds = ["missing", "extra", "different", "refused"] as const;
  const counts = kinds.map((kind) => `${formatCount(verification[kind])} ${kind}`);
  if (verification.unsettled > 0) counts.push(`${formatCount(verification.unsettled)} unsettled`);
  if (repaired > 0) counts.push(`${formatCount(repaired)} repaired`);
  const documents = `${formatCount(compared)} documents compared, ${
    formatCount(listed)
  } in the index looked up`;
  const lines = [
    `${index}: ${left === 0 ? "equal" : "different"}`,
    `  ${documents}: ${counts.join(", ")}`,
    ...notes(verification).map((note) => `  ${note}`),
    ...differences.flatMap(describeDifference).map((line) => `  ${line}`),
  ];
  const all = kinds.reduce((sum, kind) => sum + verification[kind], verification.unsettled);
  const untold = all - differences.length;
  if (untold > 0) lines.push(`  and ${formatCount(untold)} more (--limit)`);
  return lines.map(inOneLine).join("\n");
}

function notes(verification: IndexVerification): string[] {
  const { contents, judged, refusedKnown, missing, different } = verification;
  const found: string[] = [];
  if (!contents) {
    found.push(
      "Only whether documents exist was compared: pipeline or mapping change what is stored of them.",
    );
  }
  if (judged === "present") {
    found.push("No sync runs, so changes that it has not carried out yet count, too.");
  }
  if (!refusedKnown && missing + different > 0) {
    found.push(
      "Documents that the search engine refuses may be among these; the running sync knows (`pgsync status`).",
    );
  }
  return found;
}

function describeDifference({ id, kind, changes, reason, repaired }: VerifiedDifference): string[] {
  const head = `${kind.padEnd(9)} ${id}${repaired ? " (repaired)" : ""}${
    reason === null ? "" : `: ${reason}`
  }`;
  return [
    head,
    ...changes.map(({ path, expected, found }) =>
      `  ${path}: PostgreSQL has ${expected ?? "nothing"}, the index ${found ?? "nothing"}`
    ),
  ];
}
