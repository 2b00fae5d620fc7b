/**
 * The statements that read PostgreSQL's catalog, one per aspect, each over all relations at once.
 *
 * They run on PostgreSQL 13 to 18 as any role (pg_catalog is readable by everybody), and under a search_path
 * without user schemas. Columns that only newer majors have are read through `to_jsonb(row) ->> 'column'`, which
 * is null where there is no such column, so one text serves all majors.
 */

/** Version, role, settings and free places. No parameter; one row. */
export const SERVER = `
select
  current_setting('server_version_num')::int as "versionNumber",
  split_part(current_setting('server_version'), ' ', 1) as "version",
  current_database() as "database",
  current_user as "role",
  coalesce(r.rolsuper, false) as "isSuperuser",
  -- Managed services give the right to replicate by membership: Amazon RDS and Aurora, Yandex.
  coalesce(r.rolsuper or r.rolreplication, false) or exists (
    select from pg_roles m
    where m.rolname in ('rds_replication', 'mdb_replication') and pg_has_role(current_user, m.oid, 'MEMBER')
  ) as "canReplicate",
  has_database_privilege(current_database(), 'CREATE') as "canCreate",
  current_setting('wal_level') as "walLevel",
  current_setting('max_replication_slots')::int as "maxReplicationSlots",
  (select count(*) from pg_replication_slots) as "usedReplicationSlots",
  current_setting('max_wal_senders')::int as "maxWalSenders",
  (select count(*) from pg_stat_replication) as "usedWalSenders",
  pg_is_in_recovery() as "inRecovery",
  (select pg_encoding_to_char(d.encoding) from pg_database d where d.datname = current_database()) as "encoding",
  current_setting('block_size')::int as "blockSize",
  array(
    select f.signature from (values
      ('pg_catalog.pg_control_system()'), ('pg_catalog.pg_control_checkpoint()'), ('pg_catalog.pg_control_recovery()')
    ) f(signature)
    where not has_function_privilege(f.signature, 'EXECUTE')
  ) as "denied"
from (select) one
left join pg_roles r on r.rolname = current_user`;

/**
 * The cluster's identity on a primary. The control file's timeline is that of the last checkpoint and so lags
 * behind a promotion; the name of the WAL file being written begins with the timeline that is written now.
 */
export const IDENTITY_OF_PRIMARY = `
select
  (select system_identifier::text from pg_control_system()) as "systemIdentifier",
  ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int as "timeline"`;

/**
 * The cluster's identity on a standby, which writes no WAL of its own: the newest timeline that the control file
 * or the WAL receiver knows of (the latter is shown to members of pg_read_all_stats only).
 */
export const IDENTITY_OF_STANDBY = `
select
  (select system_identifier::text from pg_control_system()) as "systemIdentifier",
  greatest(
    (select timeline_id from pg_control_checkpoint()),
    (select min_recovery_end_timeline from pg_control_recovery()),
    (select received_tli from pg_stat_wal_receiver)
  ) as "timeline"`;

/** The relations behind names. $1: JSON array of {schema, table}. */
export const RELATIONS = `
select
  c.oid::bigint as "oid",
  n.nspname as "schema",
  c.relname as "table",
  c.relkind as "kind",
  c.relreplident as "replicaIdentity",
  pg_get_userbyid(c.relowner) as "owner",
  pg_has_role(c.relowner, 'USAGE') as "isOwner",
  -- relhassubclass stays true for a while after the last child is gone.
  c.relkind <> 'p' and exists (select from pg_inherits i where i.inhparent = c.oid) as "hasInheritors",
  has_schema_privilege(n.oid, 'USAGE') and (
    has_table_privilege(c.oid, 'SELECT') or not exists (
      select from pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and not has_column_privilege(c.oid, a.attnum, 'SELECT')
    )
  ) as "canSelect"
from (
  select distinct asked.schema, asked."table"
  from jsonb_to_recordset($1::text::jsonb) as asked(schema text, "table" text)
) asked
join pg_namespace n on n.nspname = asked.schema
join pg_class c on c.relnamespace = n.oid and c.relname = asked."table"
where c.relkind in ('r', 'p', 'v', 'm', 'f')
order by n.nspname, c.relname`;

/** The names of all relations that could have been meant; asked for only when a name was not found. */
export const ALL_NAMES = `
select n.nspname as "schema", c.relname as "table"
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
  and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
order by n.nspname, c.relname
limit 20000`;

/**
 * What holds rows: the relation itself, or the leaf partitions at any depth. $1: relation oids, as `{1,2}`.
 * A partition that is being detached concurrently is no longer read through its parent, so it is left out.
 */
export const HEAPS = `
with recursive tree(root, oid) as (
  select c.oid, c.oid from pg_class c where c.oid = any($1::text::oid[])
  union all
  select t.root, i.inhrelid
  from tree t
  join pg_class p on p.oid = t.oid and p.relkind = 'p'
  join pg_inherits i on i.inhparent = p.oid
  where coalesce((to_jsonb(i) ->> 'inhdetachpending')::boolean, false) = false
)
select
  t.root::bigint as "relation",
  c.oid::bigint as "oid",
  n.nspname as "schema",
  c.relname as "table",
  coalesce(pg_relation_filenode(c.oid), 0)::bigint as "filenode",
  coalesce(case when c.relkind in ('r', 'm') then pg_relation_size(c.oid, 'main') end, 0)
    / current_setting('block_size')::int as "pages",
  greatest(c.reltuples, 0)::float8 as "estimatedRows",
  c.relreplident as "replicaIdentity",
  current_setting('server_version_num')::int >= 140000 and c.relkind in ('r', 'm')
    and coalesce(am.amname = 'heap', false) as "tidRange"
from tree t
join pg_class c on c.oid = t.oid
join pg_namespace n on n.oid = c.relnamespace
left join pg_am am on am.oid = c.relam
where c.relkind in ('r', 'm', 'f')
order by t.root, n.nspname, c.relname`;

/** Columns of the relations (their partitions have the same). $1: relation oids. */
export const COLUMNS = `
select
  a.attrelid::bigint as "relation",
  a.attname as "name",
  a.attnum as "number",
  a.atttypid::bigint as "type",
  a.attnotnull as "notNull",
  a.attgenerated <> '' as "generated",
  a.attgenerated = 'v' as "virtual",
  coalesce(l.collisdeterministic, true) as "deterministic",
  case when l.collname <> 'default' then l.collnamespace::regnamespace::text || '.' || quote_ident(l.collname) end as "collation"
from pg_attribute a
left join pg_collation l on l.oid = a.attcollation
where a.attrelid = any($1::text::oid[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum`;

/**
 * The types of the relations' columns and all types inside of those (base types of domains, elements, bounds of
 * ranges, attributes of composites). $1: relation oids. `equals` is the equality operator of an extension's
 * type, which an empty search_path hides: `citext = citext` would silently compare as text.
 */
export const TYPES = `
with recursive needed(oid) as (
  select a.atttypid from pg_attribute a
  where a.attrelid = any($1::text::oid[]) and a.attnum > 0 and not a.attisdropped
  union
  select inner_type.oid
  from needed d
  join pg_type t on t.oid = d.oid
  cross join lateral (
    select t.typbasetype where t.typbasetype <> 0
    union all
    select t.typelem where t.typelem <> 0 and t.typlen = -1
    union all
    select r.rngsubtype from pg_range r
    where r.rngtypid = t.oid or (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid
    union all
    select a.atttypid from pg_attribute a
    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
  ) inner_type(oid)
)
select
  t.oid::bigint as "oid",
  t.typname as "name",
  n.nspname = 'pg_catalog' as "builtIn",
  -- A type modifier of -1 gives the type without a length: 'character' after :: would mean one character.
  format_type(t.oid, -1) as "sql",
  t.typtype as "kind",
  t.typbasetype::bigint as "base",
  case when t.typelem <> 0 and t.typlen = -1 then t.typelem else 0 end::bigint as "element",
  coalesce((
    select r.rngsubtype from pg_range r
    where r.rngtypid = t.oid or (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid
  ), 0)::bigint as "subtype",
  (
    select coalesce(json_agg(json_build_object(
      'name', a.attname, 'type', a.atttypid::bigint, 'deterministic', coalesce(l.collisdeterministic, true)
    ) order by a.attnum), '[]')
    from pg_attribute a left join pg_collation l on l.oid = a.attcollation
    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
  ) as "attributes",
  (
    select format('OPERATOR(%I.%s)', s.nspname, o.oprname)
    from pg_opclass k
    join pg_am m on m.oid = k.opcmethod and m.amname in ('btree', 'hash')
    join pg_amop p on p.amopfamily = k.opcfamily and p.amoplefttype = t.oid and p.amoprighttype = t.oid
      and p.amopstrategy = case m.amname when 'btree' then 3 else 1 end
    join pg_operator o on o.oid = p.amopopr
    join pg_namespace s on s.oid = o.oprnamespace
    where k.opcintype = t.oid and k.opcdefault and s.nspname <> 'pg_catalog'
    order by m.amname limit 1
  ) as "equals"
from needed d
join pg_type t on t.oid = d.oid
join pg_namespace n on n.oid = t.typnamespace
order by t.oid`;

/**
 * Valid indexes: all of the relations ($1), of their leaf partitions ($2) those that a replica identity may use.
 * `columns` holds null for an expression.
 */
export const INDEXES = `
select
  x.indrelid::bigint as "relation",
  c.relname as "name",
  x.indisunique as "unique",
  x.indisprimary as "primary",
  x.indimmediate as "immediate",
  x.indisreplident as "replicaIdentity",
  x.indpred is not null as "partial",
  am.amname in ('btree', 'hash') as "servesEquality",
  (
    select json_agg(a.attname order by k.position)
    from generate_series(0, x.indnkeyatts - 1) as k(position)
    left join pg_attribute a on a.attrelid = x.indrelid and a.attnum = x.indkey[k.position]
      and x.indkey[k.position] <> 0
  ) as "columns"
from pg_index x
join pg_class c on c.oid = x.indexrelid
join pg_am am on am.oid = c.relam
where x.indisvalid and (
  x.indrelid = any($1::text::oid[])
  or x.indrelid = any($2::text::oid[]) and (x.indisprimary or x.indisreplident)
)
order by x.indrelid, c.relname`;

/**
 * Foreign keys declared on the relations. $1: relation oids. For a key that refers to a partitioned table the
 * server keeps a further constraint for each of its partitions; only the one that was declared (or inherited
 * from the referencing table's own parent) counts: it refers to the same table as its topmost ancestor.
 * Temporal foreign keys (PERIOD) do not compare by equality, so they join nothing here.
 */
export const FOREIGN_KEYS = `
with recursive ancestor(constraint_oid, top) as (
  select f.oid, f.oid from pg_constraint f where f.contype = 'f' and f.conrelid = any($1::text::oid[])
  union all
  select a.constraint_oid, f.conparentid
  from ancestor a join pg_constraint f on f.oid = a.top where f.conparentid <> 0
)
select
  f.conrelid::bigint as "relation",
  f.conname as "name",
  n.nspname as "targetSchema",
  t.relname as "targetTable",
  (
    select json_agg(a.attname order by k.position)
    from unnest(f.conkey) with ordinality as k(number, position)
    join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.number
  ) as "columns",
  (
    select json_agg(a.attname order by k.position)
    from unnest(f.confkey) with ordinality as k(number, position)
    join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.number
  ) as "targetColumns"
from ancestor a
join pg_constraint f on f.oid = a.constraint_oid
join pg_constraint top on top.oid = a.top and top.conparentid = 0
join pg_class t on t.oid = f.confrelid
join pg_namespace n on n.oid = t.relnamespace
where f.confrelid = top.confrelid and coalesce((to_jsonb(f) ->> 'conperiod')::boolean, false) = false
order by f.conrelid, f.conname`;
