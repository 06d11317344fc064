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
) RETURNS TABLE (id text, seq bigint, role text, content text, created_at timestamptz, row_id text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
SET enable_seqscan = off
AS $$
    SELECT message.id, message.seq, message.role, message.content, message.created_at, message.row_id
    FROM (
        SELECT messages.*,
            CASE
                WHEN threads.deleted_at IS NULL AND messages.seq > threads.history_starts_after
                    AND (p_owner IS NULL OR threads.owner = p_owner)
                THEN threads.id
                -- Another one may show it, that shares the history: asked where somebody does.
                WHEN EXISTS (SELECT 1 FROM threads AS child WHERE child.parent_key = threads.key)
                THEN (
                    WITH RECURSIVE below AS (
                        SELECT child.* FROM threads AS child
                        WHERE child.parent_key = threads.key AND child.shared_to_seq >= messages.seq
                        UNION ALL
                        SELECT child.* FROM threads AS child JOIN below ON child.parent_key = below.key
                        WHERE child.shared_to_seq >= messages.seq
                    )
                    SELECT below.id FROM below
                    WHERE below.deleted_at IS NULL AND messages.seq > below.history_starts_after
                        AND (p_owner IS NULL OR below.owner = p_owner)
                    ORDER BY below.key LIMIT 1
                )
            END AS row_id
        FROM messages
        -- One by one: few are found of a rare word, and a plan that expects many reads all threads.
        CROSS JOIN LATERAL (SELECT * FROM threads WHERE threads.key = messages.thread_key OFFSET 0) AS threads
        WHERE threads.tenant = nullif(current_setting('threadmill.tenant', true), '') AND NOT messages.rolled_back
            AND to_tsvector('simple', left(messages.content, 100000)) @@ p_words
    ) AS message
    WHERE message.row_id IS NOT NULL
    ORDER BY message.created_at DESC, message.seq DESC LIMIT p_limit
$$;
REVOKE ALL ON FUNCTION threadmill.find_messages_v1 FROM PUBLIC;
