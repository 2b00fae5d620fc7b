/** Small transactions on the bookshop, by PostgreSQL's pgbench. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { removeFolder, startChild, temporaryFolder } from "../../servers/process.ts";
import { postgresProgram } from "../candidates/recvlogical.ts";
import type { Servers } from "../servers.ts";

const SCRIPTS: readonly { readonly name: string; readonly weight: number; readonly statements: string }[] = [
  {
    name: "root",
    weight: 4,
    statements: `\\set rating random(1, :ratings)
      \\set grams random(100, 2000)
      UPDATE book SET weight_kg = :grams / 1000.0, in_stock = NOT in_stock
        WHERE isbn = (SELECT book_isbn FROM rating WHERE id = :rating);`,
  },
  {
    name: "child",
    weight: 4,
    statements: `\\set rating random(1, :ratings)
      \\set stars random(1, 5)
      UPDATE rating SET stars = :stars WHERE id = :rating;`,
  },
  {
    name: "new child",
    weight: 2,
    statements: `\\set rating random(1, :ratings)
      BEGIN;
      INSERT INTO rating
        SELECT nextval('bench_rating'), book_isbn, 3, 'pgbench', 'One more.', now() FROM rating WHERE id = :rating;
      DELETE FROM rating WHERE id = currval('bench_rating') - 50;
      COMMIT;`,
  },
  {
    name: "link",
    weight: 2,
    statements: `\\set rating random(1, :ratings)
      \\set author random(1, :authors)
      BEGIN;
      DELETE FROM book_author
        WHERE (book_isbn, author_id) IN (
          SELECT book_isbn, author_id FROM book_author
          WHERE book_isbn = (SELECT book_isbn FROM rating WHERE id = :rating) LIMIT 1
        );
      INSERT INTO book_author
        SELECT book_isbn, :author, 1 FROM rating WHERE id = :rating ON CONFLICT DO NOTHING;
      COMMIT;`,
  },
];

export interface PgbenchOptions {
  readonly clients: number;
  /** How long it works, at most. */
  readonly seconds: number;
  /** Transactions a second that it tries to keep to; as many as it can, when absent. */
  readonly rate?: number;
}

/** A pgbench that works. */
export interface Pgbench {
  /** Waits for its end. @returns transactions a second @throws Error with its output where one failed */
  readonly ended: Promise<number>;
  /** Ends it before its time. @returns transactions a second so far, as far as it has told */
  stop(): Promise<number>;
}

/** Starts pgbench on a bookshop. The same seed makes the same transactions, as far as the clients do not meet. */
export async function startPgbench(
  { sql, postgresUrl }: Servers,
  { clients, seconds, rate }: PgbenchOptions,
): Promise<Pgbench> {
  const [rows] = await sql<{ ratings: number; authors: number }[]>`
    SELECT (SELECT count(*)::int FROM rating WHERE id < 1e9) AS ratings, (SELECT count(*)::int FROM author) AS authors`;
  if (rows === undefined) throw new Error("the bookshop is not there");
  // Numbers that no row of the bookshop has.
  await sql`CREATE SEQUENCE IF NOT EXISTS bench_rating START 1000000000`;
  const folder = temporaryFolder("pgbench");
  const files = SCRIPTS.map(({ name, weight, statements }) => {
    const file = join(folder, `${name.replace(" ", "_")}.sql`);
    // A line is a statement or a command of pgbench's.
    writeFileSync(file, statements.split("\n").map((line) => line.trim()).join("\n") + "\n");
    return `${file}@${weight}`;
  });
  const url = new URL(postgresUrl);
  const told: number[] = [];
  const child = await startChild({
    command: postgresProgram("pgbench"),
    args: [
      ...["--host", url.hostname, "--port", url.port, "--username", url.username, "--no-vacuum"],
      ...["--client", String(clients), "--jobs", "2", "--time", String(seconds), "--progress", "1"],
      ...["--random-seed", "42", "--protocol", "prepared", "--max-tries", "100"],
      ...(rate === undefined ? [] : ["--rate", String(rate)]),
      ...["--define", `ratings=${rows.ratings}`, "--define", `authors=${rows.authors}`],
      ...files.flatMap((file) => ["--file", file]),
      url.pathname.slice(1),
    ],
    onLine: (line) => {
      const now = /^progress: .*?([\d.]+) tps/.exec(line)?.[1];
      if (now !== undefined) told.push(Number(now));
    },
  });
  const ended = child.exited.then(({ code, signal }) => {
    removeFolder(folder);
    const tps = /^tps = ([\d.]+)/m.exec(child.output())?.[1];
    if (code === 0 && tps !== undefined) return Number(tps);
    if (signal !== null) return told.reduce((sum, each) => sum + each, 0) / told.length;
    throw new Error(`pgbench ended with code ${code}:\n${child.output()}`);
  });
  // Somebody waits for it later.
  ended.catch(() => {});
  return {
    ended,
    async stop() {
      await child.stop();
      return await ended;
    },
  };
}
