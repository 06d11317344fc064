-- Note that API keys are used now, those whose last use is a minute ago. A row that another gateway writes is noted by it.
CREATE FUNCTION threadmill.note_key_uses_v1(ids text[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
-- A plan is made on a table that may be empty then, and kept.
SET enable_seqscan = off
AS $$
    UPDATE api_keys SET last_used_at = clock_timestamp() WHERE id IN (
        SELECT due.id FROM api_keys AS due
        WHERE due.id = ANY (ids)
            AND (due.last_used_at IS NULL OR due.last_used_at < clock_timestamp() - interval '60 seconds')
        FOR UPDATE SKIP LOCKED
    )
$$;
REVOKE ALL ON FUNCTION threadmill.note_key_uses_v1 FROM PUBLIC;
