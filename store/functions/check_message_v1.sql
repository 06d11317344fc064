-- Checks a message that SQL sends and what goes with it, as `producers/send_request.py` does; raises in its words.
CREATE FUNCTION threadmill.check_message_v1(
    thread_id text,
    content text,
    agent text,
    tenant text,
    idempotency_key text,
    priority integer,
    metadata jsonb,
    not_before timestamptz,
    deadline timestamptz,
    role text,
    when_busy text,
    merge_window double precision,
    branch text
) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- A caller's session may read backslashes in another way.
SET standard_conforming_strings = on
AS $$
DECLARE
    -- A day within what Python counts, for a session reads moments in a time zone of its own.
    first_moment CONSTANT timestamptz := '0001-01-02 00:00:00+00';
    last_moment CONSTANT timestamptz := '9999-12-31 00:00:00+00';
BEGIN
    IF role NOT IN ('user', 'system') THEN
        PERFORM threadmill.refuse_v1('role', format('is ''%s''', role), 'use one of user, system');
    ELSIF when_busy NOT IN ('enqueue', 'reject', 'interrupt', 'rollback', 'merge', 'steer') THEN
        PERFORM threadmill.refuse_v1(
            'when_busy', format('is ''%s''', when_busy), 'use one of enqueue, reject, interrupt, rollback, merge, steer'
        );
    ELSIF when_busy <> 'enqueue' AND not_before IS NOT NULL THEN
        PERFORM threadmill.refuse_v1(
            'when_busy', format('is ''%s'' for a message of a later time, which always waits', when_busy),
            'leave out one of the two'
        );
    ELSIF merge_window NOT BETWEEN 0 AND 60 THEN
        PERFORM threadmill.refuse_v1('merge_window', format('is %s', merge_window), 'pass at most 60 seconds');
    ELSIF priority NOT BETWEEN 0 AND 9 THEN
        PERFORM threadmill.refuse_v1('priority', format('is %s', priority), 'pass a whole number from 0 to 9');
    -- Nothing but white space, in any locale.
    ELSIF content IS NULL
        OR content !~ '[^\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]'
    THEN
        PERFORM threadmill.refuse_v1('content', 'is empty', 'pass some text');
    ELSIF char_length(content) > 1000000 THEN
        PERFORM threadmill.refuse_v1(
            'content', format('has %s characters', char_length(content)), 'at most 1000000 fit in one message'
        );
    ELSIF starts_with(tenant, 'threadmill.') THEN
        PERFORM threadmill.refuse_v1('tenant', 'begins with threadmill.', 'choose another name: these are ours');
    ELSIF tenant !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' OR tenant LIKE '%..%' THEN
        PERFORM threadmill.refuse_v1(
            'tenant', 'is no plain name', 'use 1 to 63 of A-Z a-z 0-9 . _ - and begin with a letter or digit'
        );
    ELSIF not_before NOT BETWEEN first_moment AND last_moment THEN
        PERFORM threadmill.refuse_v1('not_before', 'is out of range', 'pass a time between the years 1 and 9999');
    ELSIF deadline NOT BETWEEN first_moment AND last_moment THEN
        PERFORM threadmill.refuse_v1('deadline', 'is out of range', 'pass a time between the years 1 and 9999');
    END IF;
    PERFORM threadmill.check_id_v1('thread_id', thread_id);
    PERFORM threadmill.check_id_v1('agent', agent);
    IF branch IS NOT NULL THEN
        PERFORM threadmill.check_id_v1('branch', branch);
    END IF;
    IF idempotency_key IS NOT NULL THEN
        PERFORM threadmill.check_id_v1('idempotency_key', idempotency_key);
    END IF;
    IF metadata <> '{}' THEN
        PERFORM threadmill.check_metadata_v1('metadata', metadata);
    END IF;
END
$$;
