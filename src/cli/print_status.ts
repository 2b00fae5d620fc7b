import type { StatusJson } from "../server/status_json.ts";
import { formatBytes, formatCount, formatDuration } from "../status/figures.ts";
import { inOneLine } from "./format.ts";
import { table } from "./table.ts";

/**
 * The status as a short table for people.
 *
 * @param now to say how long ago things were
 */
export function describeStatus(status: StatusJson, now: Date): string {
  const since = (time: string) => formatDuration((now.getTime() - Date.parse(time)) / 1000);
  const lines = [
    `pgsync ${status.version}, ${status.ready ? "ready" : status.standby ? "standing by" : "not ready"}, up ${
      since(status.startedAt)
    }`,
  ];
  for (const reason of status.notReady) lines.push(`  ${reason}`);
  const { heldBytes, limitBytes, mostBytes } = status.memory;
  lines.push(
    `  buffers hold ${formatBytes(heldBytes)} of ${formatBytes(limitBytes)}, ${
      formatBytes(mostBytes)
    } at most so far`,
  );
  for (
    const { database, phase, postgresVersion, searchEngine, stream, indices, warnings, faults } of status
      .databases
  ) {
    const connected = stream.connected ? "" : ", stream not connected";
    const safe = stream.safeBytes === null ? "" : `, ${formatBytes(stream.safeBytes)} until it is lost`;
    lines.push(
      "",
      `${database}: ${phase}${connected}`,
      `  PostgreSQL ${postgresVersion} → ${searchEngine}`,
      `  position ${stream.confirmed} of ${stream.server}, ${formatBytes(stream.lagBytes)} behind` +
        (stream.lagSeconds === null ? "" : ` (${stream.lagSeconds.toFixed(1)} s)`),
      `  slot ${stream.slot} keeps ${formatBytes(stream.retainedBytes)} of WAL${safe}`,
      ...table([
        ["index", "load", "loaded", "indexed", "deleted", "dead letters"],
        ...indices.map(({ index, load, indexed, deleted, deadLetters }) => [
          index,
          load.state === "running" ? `${load.chunksDone}/${load.chunks} chunks` : load.state,
          ...[load.documents, indexed, deleted, deadLetters].map(formatCount),
        ]),
      ]).map((line) => `  ${line}`),
    );
    lines.push(...warnings.map((warning) => `  warning: ${warning}`));
    const last = faults.at(-1);
    if (last !== undefined) {
      lines.push(`  last fault, ${since(last.at)} ago: ${last.code}: ${last.message}`, `    ${last.remedy}`);
    }
  }
  return lines.map(inOneLine).join("\n");
}
