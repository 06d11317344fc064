-- Sends a message from SQL, in the caller's own transaction; returns the id of the turn that answers it.
--
-- What stays true: the name and the parameters stay as they are, and so do the rights to call it. Each release has it
-- call its newest version. It may do what its owner may, so that who calls it needs no right to any table.
CREATE OR REPLACE FUNCTION threadmill.send_message(
    -- The caller's own id of the conversation: it is made with its first message.
    thread_id text,
    content text,
    -- The agent that shall answer; null: the one that the thread was handed over to, or else `assistant`.
    agent text DEFAULT NULL,
    -- The tenant of the thread: thread ids of two tenants never meet.
    tenant text DEFAULT 'default',
    -- The same key with the same request gives the first turn again; with another request, an error.
    idempotency_key text DEFAULT NULL,
    -- 0 to 9, higher is sooner; it orders threads, never the messages of one.
    priority integer DEFAULT 0,
    -- A JSON object that is stored with the message; tools see it.
    metadata jsonb DEFAULT '{}',
    -- The message joins its thread's order then.
    not_before timestamptz DEFAULT NULL,
    -- A turn that has not ended by then fails, with what it had said.
    deadline timestamptz DEFAULT NULL,
    -- user or system.
    role text DEFAULT 'user',
    -- Accept an agent that no worker has registered yet: its turn waits for one.
    allow_unknown_agent boolean DEFAULT false,
    -- Your own id of the user who asks; the thread's owner from now on, if it has none. Null: `user` in metadata.
    "user" text DEFAULT NULL,
    -- What becomes of it while its thread has an unfinished turn: enqueue, reject, interrupt, rollback, merge or steer.
    -- Null: the thread's own policy, else the agent's, else enqueue.
    when_busy text DEFAULT NULL,
    -- Seconds, 60 at most, that a message to be merged waits for more.
    merge_window double precision DEFAULT 0,
    -- The branch of the thread that it is sent to, by its id; null: the one that is chosen.
    branch text DEFAULT NULL
) RETURNS uuid
LANGUAGE sql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
    SELECT threadmill.send_message_v1(
        thread_id, content, agent, tenant, idempotency_key, priority, metadata, not_before, deadline, role,
        allow_unknown_agent, "user", when_busy, merge_window, branch
    )
$$;
REVOKE ALL ON FUNCTION threadmill.send_message FROM PUBLIC;
