/** The log: lines for people, or JSON, on stderr; stdout belongs to what a command was asked for. */
import process from "node:process";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import { inOneLine, toJson } from "./format.ts";

/** The forms of the log. */
export const LOG_FORMATS = ["text", "json"] as const;
/** A form of the log. */
export type LogFormat = typeof LOG_FORMATS[number];

/** Receives finished lines, newline included. */
export type LineWriter = (line: string) => void;

const writeToStderr: LineWriter = (line) => void process.stderr.write(line);
let writer: LineWriter = writeToStderr;

/**
 * Sends the log's lines elsewhere (above a progress bar) until the function that is returned is called.
 */
export function redirectLog(to: LineWriter): () => void {
  writer = to;
  return () => {
    if (writer === to) writer = writeToStderr;
  };
}

/** Writes a line where the log goes. */
function writeLogLine(line: string): void {
  writer(`${line}\n`);
}

/** Sets the log up; may be called again. */
export async function configureLogging(format: LogFormat, verbose: boolean): Promise<void> {
  const formatRecord = format === "json" ? formatJson : formatText;
  await reset();
  await configure({
    sinks: { stderr: (record) => writeLogLine(formatRecord(record)) },
    loggers: [
      { category: "pgsync", lowestLevel: verbose ? "debug" : "info", sinks: ["stderr"] },
      // what logtape says of itself
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["stderr"] },
    ],
  });
}

/** `2026-01-31T12:00:00.000Z INFO  sync  message key=value`; values with blanks are quoted as JSON. */
export function formatText(record: LogRecord): string {
  const time = new Date(record.timestamp).toISOString();
  const level = (record.level === "warning" ? "WARN" : record.level.toUpperCase()).padEnd(5);
  const category = record.category.slice(1).join(".") || record.category.join(".");
  const pairs = Object.entries(propertiesBesideMessage(record)).map(([key, value]) =>
    ` ${key}=${plain(value)}`
  );
  return inOneLine(`${time} ${level} ${category.padEnd(11)} ${messageOf(record)}${pairs.join("")}`);
}

/** One JSON object in a line: time, level, category, message, and the properties. */
export function formatJson(record: LogRecord): string {
  return toJson({
    time: new Date(record.timestamp).toISOString(),
    level: record.level,
    category: record.category.join("."),
    message: messageOf(record),
    ...Object.keys(record.properties).length === 0 ? {} : { properties: record.properties },
  });
}

function messageOf(record: LogRecord): string {
  return record.message.map((part) => typeof part === "string" ? part : plain(part)).join("");
}

/** What the message has already said is not said again. */
function propertiesBesideMessage(record: LogRecord): Record<string, unknown> {
  const template = typeof record.rawMessage === "string" ? record.rawMessage : record.rawMessage.join("");
  return Object.fromEntries(
    Object.entries(record.properties).filter(([key]) => !template.includes(`{${key}}`)),
  );
}

function plain(value: unknown): string {
  if (typeof value === "string") return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  if (value instanceof Date) return value.toISOString();
  return typeof value === "object" && value !== null ? toJson(value) : String(value);
}
