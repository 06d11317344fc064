-- Finds the newest messages with these words among those of the tenant that the transaction names.
--
-- What stays true: whom row-level security binds sees no more this way than without it. A role that it binds could not
-- use the index of words itself: their comparison is not among those that PostgreSQL trusts to tell nothing of rows
-- that are kept out, so it would read the messages of all tenants. So this works with the rights of its owner, on the
-- named tenant's rows alone.
CREATE FUNCTION threadmill.find_messages_v1(
    p_words tsquery,
    -- Only in threads of this user; null for those of all.
    p_owner text,
    p_limit integer
) RETURNS TABLE (thread_id text, id text, seq bigint, role text, content text, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
SET enable_seqscan = off
AS $$
    SELECT threads.id, messages.id, messages.seq, messages.role, messages.content, messages.created_at
    FROM messages JOIN threads ON messages.thread_key = threads.key
    WHERE threads.tenant = nullif(current_setting('threadmill.tenant', true), '')
        AND (p_owner IS NULL OR threads.owner = p_owner)
        AND messages.seq > threads.history_starts_after AND NOT messages.rolled_back
        AND to_tsvector('simple', left(messages.content, 100000)) @@ p_words
    ORDER BY messages.created_at DESC, messages.seq DESC LIMIT p_limit
$$;
REVOKE ALL ON FUNCTION threadmill.find_messages_v1 FROM PUBLIC;
