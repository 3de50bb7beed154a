-- Partitions each table of a migrated database by owner, sixteen partitions each: psql --file deploy/partition.sql
-- All or nothing. Run it while nobody writes. Rows are copied; grant privileges again afterwards.
do $$
declare
    pieces constant int := 16;
    name text;
    statement text;
begin
    create schema todo_whole;
    foreach name in array array['tasks', 'lists', 'owners', 'changes', 'used_keys'] loop
        execute format('alter table %I set schema todo_whole', name);
        execute format(
            'create table %1$I (like todo_whole.%1$I including all excluding indexes) partition by hash (user_id)', name
        );
        for piece in 0..pieces - 1 loop
            execute format(
                'create table %I partition of %I for values with (modulus %s, remainder %s)',
                name || '_' || piece, name, pieces, piece
            );
        end loop;
        execute format('insert into %1$I select * from todo_whole.%1$I', name);
        -- By their own names, which statements and later migrations use.
        for statement in
            select format('alter table %I add constraint %I %s', name, conname, pg_get_constraintdef(oid))
            from pg_constraint where conrelid = format('todo_whole.%I', name)::regclass and contype = 'p'
            union all
            select replace(pg_get_indexdef(indexrelid), ' ON todo_whole.', ' ON ')
            from pg_index where indrelid = format('todo_whole.%I', name)::regclass and not indisprimary
        loop
            execute statement;
        end loop;
    end loop;
    drop schema todo_whole cascade;
end $$;
