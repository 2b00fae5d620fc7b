import { html } from "hono/html";
import type { StatusJson } from "./status_json.ts";

type DatabaseJson = StatusJson["databases"][number];
type Markup = ReturnType<typeof html>;

const number = new Intl.NumberFormat("en-US");

/** The page for people: one table for each database, without scripts, renewed every five seconds. */
export function statusPage(status: StatusJson): Markup {
  return html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta http-equiv="refresh" content="5">
        <title>pgsync · ${readiness(status)}</title>
        <style>
    :root { color-scheme: light dark; --line: light-dark(#d5d9e0, #3a3f48); --good: light-dark(#1a7f37, #3fb950); --bad: light-dark(#b35900, #e3a13c); }
    body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
    table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
    th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
    th { font-weight: 600; }
    td.number { text-align: right; font-variant-numeric: tabular-nums; }
    .good { color: var(--good); } .bad { color: var(--bad); }
    footer { color: GrayText; font-size: 13px; }
    </style>
      </head>
      <body>
    <h1>pgsync <span class="${status.ready || status.standby ? "good" : "bad"}">${readiness(
      status,
    )}</span></h1>
    ${status.notReady.length === 0
      ? ""
      : html`<ul>${status.notReady.map((reason) => html`<li>${reason}</li>`)}</ul>`}
    ${status.databases.map(databaseSection)}
    <p>Buffers hold ${number.format(status.memory.heldBytes)} of ${number.format(
      status.memory.limitBytes,
    )} bytes, ${number.format(status.memory.mostBytes)} at most so far.</p>
    <footer>pgsync ${status.version}, running since ${status.startedAt} ·
    <a href="/status">status</a> · <a href="/metrics">metrics</a> · <a href="/ready">ready</a> · <a href="/health">health</a></footer>
      </body>
    </html>
  `;
}

function readiness({ ready, standby }: StatusJson): string {
  if (ready) return "ready";
  return standby ? "standing by" : "not ready";
}

function databaseSection(database: DatabaseJson): Markup {
  const { stream } = database;
  const rows: readonly [string, string][] = [
    ["Phase", database.phase],
    ["PostgreSQL", database.postgresVersion],
    ["Search engine", database.searchEngine],
    [
      "Stream",
      `${
        stream.connected ? "connected" : "not connected"
      }, slot ${stream.slot}, publication ${stream.publication}`,
    ],
    [
      "Confirmed position",
      `${stream.confirmed} of ${stream.server}, ${number.format(stream.lagBytes)} bytes behind`,
    ],
    ["Lag", stream.lagSeconds === null ? "unknown" : `${stream.lagSeconds.toFixed(1)} s`],
    ["WAL kept by the slot", `${number.format(stream.retainedBytes)} bytes`],
    ["Last commit", stream.lastCommitAt ?? "none yet"],
    ["Reconnects", number.format(stream.reconnects)],
  ];
  return html`<section>
<h2>${database.database}</h2>
<table>${
    rows.map(([name, value]) =>
      html`
        <tr>
          <th scope="row">${name}</th>
          <td>${value}</td>
        </tr>
      `
    )
  }</table>
<table>
<tr><th>Index</th><th>Load</th><th>Documents loaded</th><th>Indexed</th><th>Deleted</th><th>Dead letters</th></tr>
${database.indices.map(indexRow)}
</table>
${
    database.warnings.length === 0
      ? ""
      : html`<ul>${database.warnings.map((warning) => html`<li>${warning}</li>`)}</ul>`
  }
${database.faults.length === 0 ? "" : faultTable(database.faults)}
</section>`;
}

function indexRow({ index, load, indexed, deleted, deadLetters }: DatabaseJson["indices"][number]): Markup {
  const chunks = load.state === "running" ? `, ${load.chunksDone} of ${load.chunks} chunks` : "";
  return html`
    <tr>
      <td>${index}</td>
      <td>${load.state}${chunks}</td>
      <td class="number">${number.format(load.documents)}</td>
      <td class="number">${number.format(indexed)}</td>
      <td class="number">${number.format(deleted)}</td>
      <td class="number">${number.format(deadLetters)}</td>
    </tr>
  `;
}

function faultTable(faults: DatabaseJson["faults"]): Markup {
  return html`<table><tr><th>Fault</th><th>When</th><th>What to do</th></tr>
${
    faults.toReversed().map(({ code, message, remedy, at }) =>
      html`
        <tr>
          <td>${code}: ${message}</td>
          <td>${at}</td>
          <td>${remedy}</td>
        </tr>
      `
    )
  }</table>`;
}
