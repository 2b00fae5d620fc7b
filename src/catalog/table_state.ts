import { z } from "zod";
import type { Session } from "../postgres/session.ts";
import { quoteQualified } from "../postgres/quote.ts";
import type { QualifiedName } from "../schema/tree.ts";

/**
 * What tells that a table is no longer what it was, read in one statement that takes no lock, so that it waits for
 * nobody. It is kept in the checkpoint file, so a change that is made while nobody looks is noticed at the next start.
 */

const columnState = z.object({
  name: z.string(),
  /** `pg_attribute.attnum`: a column that is dropped and made again has another. */
  number: z.number(),
  /** oid of the type. */
  type: z.number(),
  /** oid of the collation; 0 where there is none. */
  collation: z.number(),
  /** Digest of the expression that generates it; null for other columns. */
  generated: z.string().nullable(),
  /**
   * The transaction that last changed the column's definition (`xmin` of its row in `pg_attribute`): ALTER COLUMN does, VACUUM
   * FULL does not.
   */
  definedBy: z.string(),
  /** Digest of the whole definition: the same one by another transaction was another in between, perhaps a name. */
  definition: z.string(),
});

const tableState = z.object({
  schema: z.string(),
  table: z.string(),
  /** Null where no relation has the name. */
  oid: z.number().nullable(),
  /**
   * The transaction that last gave it its name, schema or owner (`xmin` of its row type in `pg_type`): another table may have had the
   * name in between. GRANT and VACUUM change nothing here.
   */
  namedBy: z.string(),
  /** `pg_class.relkind`. */
  kind: z.string().nullable(),
  /** Others inherit from it by INHERITS. */
  hasInheritors: z.boolean(),
  columns: z.array(columnState),
  /** Digest of a view's rule; empty for tables. */
  rule: z.string(),
  /** Digest of its unique indexes and the primary key. */
  keys: z.string(),
  /** Digest of the foreign keys that it declares. */
  foreignKeys: z.string(),
  /** The replica identity, with the columns of its index. */
  identity: z.string(),
  /** Digest of the attributes of the composite types in its columns. */
  composites: z.string(),
  /** The labels of the enums in its columns by their oids: a label may be renamed, and then prints differently. */
  labels: z.record(z.string(), z.string()),
  /**
   * `pg_class.relfilenode`: another one after a rewrite or a TRUNCATE. 0 for what has no storage of its own. (The function
   * `pg_relation_filenode` does not see by the statement's snapshot: it would tell of the rewrite before `definedBy` does.)
   */
  filenode: z.number(),
  /** Rows written to a materialised view, as the server counts them: REFRESH … CONCURRENTLY keeps the file. 0 for others. */
  writes: z.number(),
  /**
   * Each leaf partition by its oid: its file number, and the transactions that attached it and the levels above it (`xmin` in
   * `pg_inherits`), for one that is detached and attached again was not heard of in between. Empty for tables that are not
   * partitioned.
   */
  leaves: z.record(z.string(), z.string()),
  /**
   * By what the publication carries the table: its row and the table's in the catalog, so that a time without them shows.
   * Empty where it does not.
   */
  published: z.string(),
});

/** A table as a look finds it. */
export type TableState = Readonly<z.infer<typeof tableState>>;

/** A column of a `TableState`. */
export type ColumnState = TableState["columns"][number];

/** Reads the JSON of table states. */
export const tableStates = z.array(tableState);

const TABLE_STATES = `
with recursive root as (
  select distinct asked.schema, asked."table", c.oid, c.reltype, c.relkind, c.relreplident, c.relfilenode
  from jsonb_to_recordset($1::text::jsonb) as asked(schema text, "table" text)
  left join pg_catalog.pg_namespace n on n.nspname = asked.schema
  left join pg_catalog.pg_class c
    on c.relnamespace = n.oid and c.relname = asked."table" and c.relkind in ('r', 'p', 'v', 'm', 'f')
), tree(root, oid, attached) as (
  select root.oid, root.oid, '' from root where root.relkind = 'p'
  union all
  select t.root, i.inhrelid, t.attached || ' ' || i.xmin::text
  from tree t
  join pg_catalog.pg_class p on p.oid = t.oid and p.relkind = 'p'
  join pg_catalog.pg_inherits i on i.inhparent = p.oid
  -- While it is being detached concurrently (PostgreSQL 14) it is no longer read through its parent.
  where not coalesce((to_jsonb(i) ->> 'inhdetachpending')::boolean, false)
), leaf as (
  select t.root, jsonb_object_agg(
    c.oid::text, c.relfilenode::text || t.attached
  ) as leaves
  from tree t join pg_catalog.pg_class c on c.oid = t.oid and c.relkind <> 'p'
  group by t.root
), type_of(root, oid) as (
  select root.oid, a.atttypid
  from root join pg_catalog.pg_attribute a on a.attrelid = root.oid and a.attnum > 0 and not a.attisdropped
  union
  select o.root, inner_type.oid
  from type_of o
  join pg_catalog.pg_type t on t.oid = o.oid
  cross join lateral (
    select t.typbasetype where t.typbasetype <> 0
    union all
    select t.typelem where t.typelem <> 0 and t.typlen = -1
    union all
    select r.rngsubtype from pg_catalog.pg_range r
    where r.rngtypid = t.oid or (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid
    union all
    select a.atttypid from pg_catalog.pg_attribute a
    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
  ) inner_type(oid)
), label as (
  select o.root, jsonb_object_agg(e.oid::text, e.enumlabel) as labels
  from type_of o join pg_catalog.pg_enum e on e.enumtypid = o.oid
  group by o.root
), composite as (
  select o.root, md5(jsonb_agg(jsonb_build_array(t.oid, a.attnum, a.attname, a.atttypid)
    order by t.oid, a.attnum)::text) as digest
  from type_of o
  join pg_catalog.pg_type t on t.oid = o.oid and t.typtype = 'c'
  join pg_catalog.pg_attribute a on a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
  group by o.root
), col as (
  select a.attrelid, jsonb_agg(jsonb_build_object(
    'name', a.attname,
    'number', a.attnum,
    'type', a.atttypid::bigint,
    'collation', a.attcollation::bigint,
    'generated', case when a.attgenerated <> '' then md5(d.adbin::text) end,
    'definedBy', a.xmin::text,
    'definition', md5(((to_jsonb(a) - 'attmissingval') || jsonb_build_object('default', d.oid::bigint))::text)
  ) order by a.attnum) as columns
  from root
  join pg_catalog.pg_attribute a on a.attrelid = root.oid and a.attnum > 0 and not a.attisdropped
  left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  group by a.attrelid
), key as (
  select x.indrelid, md5(jsonb_agg(jsonb_build_array(
      x.indkey::text, x.indnkeyatts, x.indisprimary, x.indimmediate, x.indisvalid, x.indpred is null
    ) order by x.indkey::text, x.indexrelid)::text) as digest,
    max(x.indkey::text) filter (where x.indisreplident and x.indisvalid) as identity
  from root join pg_catalog.pg_index x on x.indrelid = root.oid and x.indisunique
  group by x.indrelid
), foreign_key as (
  select f.conrelid, md5(jsonb_agg(jsonb_build_array(
    f.confrelid, f.conkey, f.confkey) order by f.conkey::text, f.confrelid, f.confkey::text)::text) as digest
  from root join pg_catalog.pg_constraint f on f.conrelid = root.oid and f.contype = 'f'
  group by f.conrelid
), published as (
  select root.oid, concat_ws(' ', p.oid, p.xmin, m.oid, m.xmin,
    -- A table among all tables may be made UNLOGGED for a while, which rewrites it; one that is named may not.
    case when p.puballtables then root.relfilenode end) as mark
  from root
  join pg_catalog.pg_publication p on p.pubname = $2
  left join pg_catalog.pg_publication_rel m on m.prpubid = p.oid and m.prrelid = root.oid
  where root.relkind in ('r', 'p') and (p.puballtables or m.oid is not null)
)
select coalesce(jsonb_agg(jsonb_build_object(
  'schema', root.schema,
  'table', root."table",
  'oid', root.oid::bigint,
  'namedBy', coalesce((select t.xmin::text from pg_catalog.pg_type t where t.oid = root.reltype), ''),
  'kind', root.relkind::text,
  'hasInheritors', coalesce(root.relkind <> 'p'
    and exists (select from pg_catalog.pg_inherits i where i.inhparent = root.oid), false),
  'columns', coalesce(col.columns, '[]'),
  'rule', coalesce((
    select md5(r.ev_action::text) from pg_catalog.pg_rewrite r
    where r.ev_class = root.oid and r.ev_type = '1' and root.relkind in ('v', 'm')
  ), ''),
  'keys', coalesce(key.digest, ''),
  'foreignKeys', coalesce(foreign_key.digest, ''),
  'identity', coalesce(root.relreplident::text || ' ' || coalesce(key.identity, ''), ''),
  'composites', coalesce(composite.digest, ''),
  'labels', coalesce(label.labels, '{}'),
  'filenode', coalesce(root.relfilenode, 0)::bigint,
  'writes', case when root.relkind = 'm' then pg_catalog.pg_stat_get_tuples_inserted(root.oid)
    + pg_catalog.pg_stat_get_tuples_updated(root.oid) + pg_catalog.pg_stat_get_tuples_deleted(root.oid) else 0 end,
  'leaves', coalesce(leaf.leaves, '{}'),
  'published', coalesce(published.mark, '')
)), '[]')::text as states
from root
left join col on col.attrelid = root.oid
left join key on key.indrelid = root.oid
left join foreign_key on foreign_key.conrelid = root.oid
left join composite on composite.root = root.oid
left join label on label.root = root.oid
left join leaf on leaf.root = root.oid
left join published on published.oid = root.oid`;

/**
 * Reads tables as they are now, each once, in the order in which they are first named.
 *
 * @param publication its name; it need not exist
 * @throws postgres.js' errors
 */
export async function readTableStates(
  sql: Session,
  names: readonly QualifiedName[],
  publication: string,
): Promise<TableState[]> {
  const asked = JSON.stringify(names.map(({ schema, table }) => ({ schema, table })));
  const [answer] = z.array(z.object({ states: z.string() })).parse(
    await sql.unsafe(TABLE_STATES, [asked, publication]),
  );
  const found = new Map(
    tableStates.parse(JSON.parse(answer?.states ?? "[]")).map((state) => [quoteQualified(state), state]),
  );
  return [...new Set(names.map(quoteQualified))].flatMap((name) => found.get(name) ?? []);
}
