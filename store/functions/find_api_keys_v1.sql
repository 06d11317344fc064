-- The rows of API keys by their ids, whatever their tenant: it is the key that says whose it is. The gateway's role, to
-- which the table is closed, finds through this function what it was shown an id of, and nothing else.
CREATE FUNCTION threadmill.find_api_keys_v1(ids text[]) RETURNS SETOF api_keys
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
-- A plan is made on a table that may be empty then, and kept.
SET enable_seqscan = off
AS $$
    SELECT found.* FROM api_keys AS found WHERE found.id = ANY (ids) AND found.revoked_at IS NULL
$$;
REVOKE ALL ON FUNCTION threadmill.find_api_keys_v1 FROM PUBLIC;
