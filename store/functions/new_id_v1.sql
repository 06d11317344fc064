-- An id as Python's processes make them: a UUIDv7, in the order of creation. PostgreSQL has its own from 18 on only.
CREATE FUNCTION threadmill.new_id_v1() RETURNS uuid
LANGUAGE sql VOLATILE
SET search_path FROM CURRENT
AS $$
    SELECT (
        -- 48 bits of milliseconds, the version, and what a random UUID has behind its own version.
        lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
        || '7' || right(replace(gen_random_uuid()::text, '-', ''), 19)
    )::uuid
$$;
