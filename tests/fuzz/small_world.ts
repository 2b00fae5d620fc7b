/** A world by hand: orders with their customer, their lines and the lines' articles, and tags through a link table. */
import type { World, WorldColumn, WorldReference, WorldTable } from "./world.ts";

const IDS = ["1", "2", "3", "4", "5", "6", "7", "8"];

function column(name: string, type: string, settings: Partial<WorldColumn> = {}): WorldColumn {
  const domain = type === "int" ? IDS : ["'red'", "'green'", "'blue'", "''"];
  return {
    name,
    type,
    use: "value",
    notNull: false,
    generated: false,
    domain,
    droppable: false,
    ...settings,
  };
}

const key = (name: string) => column(name, "int", { use: "key", notNull: true });
const link = (name: string) => column(name, "int", { use: "link" });

function table(
  name: string,
  columns: readonly WorldColumn[],
  primaryKey: readonly string[],
  references: readonly WorldReference[] = [],
): WorldTable {
  const showsAllColumns = false;
  return {
    schema: "public",
    name,
    columns,
    primaryKey,
    uniques: [],
    references,
    partitioning: null,
    showsAllColumns,
  };
}

function reference(
  name: string,
  target: number,
  onDelete: "NO ACTION" | "CASCADE" | "SET NULL",
): WorldReference {
  return {
    columns: [name],
    target,
    targetColumns: ["id"],
    constraint: { onDelete, onUpdate: "CASCADE", deferrable: true },
  };
}

const TABLES: readonly WorldTable[] = [
  table("customer", [key("id"), column("name", "text")], ["id"]),
  table("article", [key("id"), column("name", "text"), column("amount", "int")], ["id"]),
  table("tag", [key("id"), column("name", "text")], ["id"]),
  table("order", [key("id"), link("customer_id"), column("note", "text")], ["id"], [
    reference("customer_id", 0, "SET NULL"),
  ]),
  table("line", [key("id"), link("order_id"), link("article_id"), column("amount", "int")], ["id"], [
    reference("order_id", 3, "CASCADE"),
    reference("article_id", 1, "NO ACTION"),
  ]),
  table("order_tag", [{ ...key("order_id") }, { ...key("tag_id") }], ["order_id", "tag_id"], [
    reference("order_id", 3, "CASCADE"),
    reference("tag_id", 2, "CASCADE"),
  ]),
];

const DDL = [
  "CREATE TABLE customer (id int PRIMARY KEY, name text)",
  "CREATE TABLE article (id int PRIMARY KEY, name text, amount int)",
  "CREATE TABLE tag (id int PRIMARY KEY, name text)",
  `CREATE TABLE "order" (id int PRIMARY KEY,
    customer_id int REFERENCES customer ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE, note text)`,
  `CREATE TABLE line (id int PRIMARY KEY,
    order_id int REFERENCES "order" ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE,
    article_id int REFERENCES article ON UPDATE CASCADE DEFERRABLE, amount int)`,
  `CREATE TABLE order_tag (
    order_id int REFERENCES "order" ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE,
    tag_id int REFERENCES tag ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE, PRIMARY KEY (order_id, tag_id))`,
];

const ONE = { type: "one_to_one", variant: "object" };
const MANY = { type: "one_to_many", variant: "object" };

/** @param setting of the index, as the schema file's `setting` */
export function smallWorld(setting: Readonly<Record<string, unknown>> = {}): World {
  return {
    seed: 0,
    ddl: DDL,
    tables: TABLES,
    materialized: [],
    traits: ["by hand"],
    schema: (database, indexName) => [{
      database,
      index: indexName(0),
      ...(Object.keys(setting).length > 0 ? { setting } : {}),
      nodes: {
        table: "order",
        columns: ["id", "note"],
        children: [
          { table: "customer", columns: ["id", "name"], relationship: ONE },
          {
            table: "line",
            label: "lines",
            columns: ["id", "amount"],
            relationship: MANY,
            children: [{ table: "article", columns: ["id", "name"], relationship: ONE }],
          },
          {
            table: "tag",
            label: "tags",
            columns: ["id", "name"],
            relationship: { ...MANY, through_tables: ["order_tag"] },
          },
        ],
      },
    }],
  };
}
