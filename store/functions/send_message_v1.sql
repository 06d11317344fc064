-- Stores a message and the turn that answers it, in the caller's own transaction; returns the turn's id.
--
-- What stays true: whatever is refused is an exception that names the field and how to mend it, and nothing is
-- stored; null means the default. A worker is notified when the transaction commits, by the maintenance worker that
-- listens, or else by the sweep.
CREATE FUNCTION threadmill.send_message_v1(
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
    allow_unknown_agent boolean,
    "user" text,
    when_busy text,
    merge_window double precision,
    branch text
) RETURNS uuid
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_variable
DECLARE
    outcome json;
    agent_is_default boolean;
BEGIN
    agent_is_default := agent IS NULL;
    agent := coalesce(agent, 'assistant');
    tenant := coalesce(tenant, 'default');
    priority := coalesce(priority, 0);
    metadata := coalesce(metadata, '{}');
    role := coalesce(role, 'user');
    merge_window := coalesce(merge_window, 0);
    PERFORM threadmill.check_message_v1(
        thread_id, content, agent, tenant, idempotency_key, priority, metadata, not_before, deadline, role,
        when_busy, merge_window, branch
    );
    "user" := threadmill.named_user_v1("user", metadata);
    outcome := threadmill.send_turn_v1(
        turn_id => threadmill.new_id_v1(),
        tenant => tenant,
        thread_id => thread_id,
        agent => agent,
        message_id => threadmill.new_id_v1()::text,
        role => role,
        content => content,
        message_metadata => metadata,
        metadata => metadata,
        "user" => "user",
        priority => priority,
        not_before => not_before,
        deadline => deadline,
        idempotency_key => idempotency_key,
        request_digest => CASE WHEN idempotency_key IS NOT NULL THEN threadmill.request_digest_v1(
            thread_id || coalesce('/' || branch, ''), content, agent, priority, metadata, not_before, deadline, role, "user", when_busy
        ) END,
        agent_is_default => agent_is_default,
        allow_unknown_agent => coalesce(allow_unknown_agent, false),
        when_busy => when_busy,
        merge_window => merge_window,
        branch => branch
    );
    CASE outcome ->> 'refusal'
        WHEN 'idempotency_conflict' THEN
            RAISE EXCEPTION 'idempotency_key: ''%'' was used with another request; send this one under a new key',
                idempotency_key USING ERRCODE = 'unique_violation';
        WHEN 'unknown_agent' THEN
            PERFORM threadmill.refuse_v1(
                'agent',
                format('no worker has ever registered ''%s'' (known: %s)', outcome ->> 'agent', (
                    SELECT coalesce(string_agg(name, ', '), 'none')
                    FROM json_array_elements_text(outcome -> 'known_agents') AS names (name)
                )),
                'start a worker that serves it, or pass allow_unknown_agent => true'
            );
        WHEN 'unknown_branch' THEN
            RAISE EXCEPTION 'branch: thread ''%'' of tenant ''%'' has no branch ''%''', thread_id, tenant, branch
                USING ERRCODE = 'no_data_found';
        WHEN 'thread_busy' THEN
            RAISE EXCEPTION 'thread ''%'' is busy with turn %; send the message again when that has ended',
                thread_id, outcome ->> 'turn_id' USING ERRCODE = 'object_in_use';
        WHEN 'changes_too_fast' THEN
            RAISE EXCEPTION 'thread ''%'' changes too fast; send the message again', thread_id
                USING ERRCODE = 'serialization_failure';
        ELSE NULL;
    END CASE;
    IF (outcome ->> 'is_new')::boolean AND (not_before <= clock_timestamp()) IS NOT FALSE THEN
        -- The ids of one thread in one transaction are one notification.
        PERFORM pg_notify('threadmill_turns', outcome ->> 'thread_key');
    END IF;
    RETURN outcome ->> 'turn_id';
END
$$;
REVOKE ALL ON FUNCTION threadmill.send_message_v1 FROM PUBLIC;
