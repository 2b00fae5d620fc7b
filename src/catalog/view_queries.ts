/**
 * The statements that tell what views read: as `queries.ts`, on PostgreSQL 13 to 18 by any role.
 *
 * What a view reads is known from its rule's dependencies (`pg_depend`), except what functions read inside.
 */

/** The views among the relations ($1: oids), and all views below them. */
const BELOW = `
with recursive below(oid) as (
  select c.oid from pg_class c where c.oid = any($1::text::oid[]) and c.relkind in ('v', 'm')
  union
  select t.oid
  from below b
  join pg_rewrite r on r.ev_class = b.oid and r.ev_type = '1'
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
  join pg_class t on t.oid = d.refobjid and t.relkind in ('v', 'm')
)`;

/**
 * The views with their rules. $1: relation oids. `opaque` names the functions in the rule that may read tables: those that
 * were not declared IMMUTABLE, built-in ones only where they are volatile or make XML of a table.
 */
export const VIEWS = `${BELOW}, called(view, function) as (
  select b.oid, found.function
  from below b
  join pg_rewrite r on r.ev_class = b.oid and r.ev_type = '1'
  cross join lateral (
    select d.refobjid from pg_depend d
    where d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_proc'::regclass
    union
    select o.oprcode::oid
    from pg_depend d join pg_operator o on o.oid = d.refobjid
    where d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_operator'::regclass
    union
    -- Built-in functions are in no dependency.
    select m[1]::oid from regexp_matches(r.ev_action::text, ':funcid (\\d+)', 'g') m
  ) found(function)
)
select
  c.oid::bigint as "oid",
  n.nspname as "schema",
  c.relname as "table",
  c.relkind as "kind",
  c.relispopulated as "populated",
  pg_get_userbyid(c.relowner) as "owner",
  pg_has_role(c.relowner, 'USAGE')
    or case when current_setting('server_version_num')::int >= 170000
      then has_table_privilege(c.oid, 'MAINTAIN') else false end as "mayRefresh",
  -- What REFRESH … CONCURRENTLY asks for.
  exists (
    select from pg_index x
    where x.indrelid = c.oid and x.indisunique and x.indimmediate and x.indisvalid and x.indpred is null
      and x.indexprs is null
  ) as "concurrently",
  r.ev_action::text as "rule",
  array(
    select distinct p.oid::regprocedure::text
    from called k
    join pg_proc p on p.oid = k.function
    left join pg_aggregate a on a.aggfnoid = p.oid
    left join pg_proc t on t.oid = a.aggtransfn
    left join pg_proc f on f.oid = a.aggfinalfn
    where k.view = c.oid and case
      when p.oid < 16384 then p.provolatile = 'v' or p.proname like '%\\_to\\_xml%'
      else p.provolatile <> 'i' or coalesce(t.provolatile, 'i') <> 'i' or coalesce(f.provolatile, 'i') <> 'i' end
    order by 1
  ) as "opaque"
from below b
join pg_class c on c.oid = b.oid
join pg_namespace n on n.oid = c.relnamespace
join pg_rewrite r on r.ev_class = c.oid and r.ev_type = '1'
order by n.nspname, c.relname`;

/**
 * What each of the views reads. $1: relation oids. `columns` are those that the rule uses, system columns included: any
 * UPDATE gives a row another xmin and ctid. For a partition the table that is at its top stands beside it, under whose
 * name the stream tells of its rows.
 */
export const VIEW_READS = `${BELOW}
select
  b.oid::bigint as "view",
  t.oid::bigint as "oid",
  t.relkind as "kind",
  t.relpersistence as "persistence",
  top.oid::bigint as "topOid",
  n.nspname as "schema",
  top.relname as "table",
  array(
    select distinct a.attname::text
    from pg_depend d
    join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
    where d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
      and d.refobjid = t.oid and d.refobjsubid <> 0
    order by 1
  ) as "columns"
from below b
join pg_rewrite r on r.ev_class = b.oid and r.ev_type = '1'
join pg_class t on t.oid in (
  select d.refobjid from pg_depend d
  where d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
) and t.oid <> b.oid and t.relkind in ('r', 'p', 'v', 'm', 'f')
cross join lateral (
  with recursive up(oid) as (
    select t.oid
    union all
    select i.inhparent
    from up join pg_class u on u.oid = up.oid and u.relispartition join pg_inherits i on i.inhrelid = up.oid
  )
  select u.oid, u.relname, u.relnamespace
  from up join pg_class u on u.oid = up.oid
  where not u.relispartition
) top
join pg_namespace n on n.oid = top.relnamespace
order by b.oid, n.nspname, top.relname, t.oid`;
