-- The hash of a request under an idempotency key: `SendRequest.digest` in `store/turns/send_request.py` makes the same.
CREATE FUNCTION threadmill.request_digest_v1(
    thread_id text,
    content text,
    agent text,
    priority integer,
    metadata jsonb,
    not_before timestamptz,
    deadline timestamptz,
    role text,
    "user" text,
    when_busy text
) RETURNS text
LANGUAGE sql STABLE
SET search_path FROM CURRENT
AS $$
    SELECT encode(sha256(convert_to(threadmill.canonical_json_v1(jsonb_build_object(
        'thread', thread_id,
        'agent', agent,
        'role', role,
        'user', "user",
        'when_busy', when_busy,
        'content', content,
        'parts', '[]'::jsonb,
        'metadata', metadata,
        'attachments', '[]'::jsonb,
        'priority', priority,
        'not_before', to_char(not_before AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        'deadline', to_char(deadline AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
    )), 'UTF8')), 'hex')
$$;
