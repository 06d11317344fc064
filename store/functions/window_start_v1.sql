-- The seq after which a window begins, so that half to all of `max_messages` fit: `conversation/window.py` in SQL.
--
-- What stays true: it has no settings of its own and is one expression, so that PostgreSQL writes it into its callers.
CREATE FUNCTION threadmill.window_start_v1(to_seq bigint, max_messages bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN max_messages IS NULL OR to_seq <= max_messages THEN 0
        -- The surplus, rounded up to whole jumps.
        ELSE (to_seq - max_messages + greatest(1, max_messages / 2) - 1)
            / greatest(1, max_messages / 2) * greatest(1, max_messages / 2)
    END
$$;
