-- The source of a webhook by the id in its address, whatever its tenant: it is the source that says whose it is. The
-- gateway's role, which is bound to a tenant, finds through this function what a request names, and nothing else.
CREATE FUNCTION threadmill.find_inbound_source_v1(id text) RETURNS SETOF inbound_sources
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path FROM CURRENT
-- A plan is made on a table that may be empty then, and kept.
SET enable_seqscan = off
AS $$
    SELECT found.* FROM inbound_sources AS found WHERE found.id = find_inbound_source_v1.id
$$;
REVOKE ALL ON FUNCTION threadmill.find_inbound_source_v1 FROM PUBLIC;
