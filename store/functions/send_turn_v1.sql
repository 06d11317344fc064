-- Stores a turn with its message, or finds the turn that the same request led to before.
--
-- What stays true: it takes no lock that a worker needs, so a caller's long transaction holds up nobody; but for the
-- one message in a thread's life that makes it somebody's. No refusal is an error, so the caller's transaction lives
-- on, and a refused request stores nothing. Who calls it has checked the values.
--
-- A thread is notified once: where its next turn has a wake-up on the way that is no less urgent, or waits for its
-- retry, the new one has none, since whoever ends that turn looks for the next one. A turn that ends between that look and this commit
-- leaves the new one to the sweep, which takes it at its next tick, as it was never notified.
--
-- What `when_busy` asks is done by whoever holds the thread's lock next; only `reject` is decided here. Of two messages
-- that would each be refused for the other, an index refuses the later one.
--
-- Returns {"turn_id", "is_new", "needs_wake_up", "address", "thread_key", "interrupts"}, the last two where the turn was
-- inserted by this call, and where it interrupts one that runs; or {"refusal"}: idempotency_conflict, limit_reached,
-- unknown_agent with {"agent", "known_agents"}, unknown_branch, thread_busy with {"turn_id"}, or changes_too_fast. The
-- address is the id of the row that it went to: that of a branch is its thread's, a slash, and its own.
CREATE FUNCTION threadmill.send_turn_v1(
    turn_id uuid,
    tenant text,
    thread_id text,
    agent text,
    -- The message; without content, the turn answers the history as it stands.
    message_id text DEFAULT NULL,
    role text DEFAULT 'user',
    content text DEFAULT NULL,
    message_created_at timestamptz DEFAULT clock_timestamp(),
    message_metadata jsonb DEFAULT '{}',
    parts jsonb DEFAULT NULL,
    name text DEFAULT NULL,
    source jsonb DEFAULT NULL,
    has_attachments boolean DEFAULT false,
    -- The turn.
    metadata jsonb DEFAULT '{}',
    -- The user who asks: the thread's owner from now on, if it has none.
    "user" text DEFAULT NULL,
    priority integer DEFAULT 0,
    not_before timestamptz DEFAULT NULL,
    deadline timestamptz DEFAULT NULL,
    local_process_id uuid DEFAULT NULL,
    -- The schedule that sends it.
    schedule_id uuid DEFAULT NULL,
    -- Without a key, no digest is compared.
    idempotency_key text DEFAULT NULL,
    request_digest text DEFAULT NULL,
    -- The sender named no agent: the one that the thread was handed over to answers, if it was.
    agent_is_default boolean DEFAULT false,
    allow_unknown_agent boolean DEFAULT false,
    -- Unfinished turns that the tenant may have, this one included; 0 is no limit.
    max_unfinished_turns integer DEFAULT 0,
    -- The caller notifies a worker right after this, unless the answer says that it need not: the sweep waits a while
    -- before it does so itself. False of a transaction that may last: it could not know what has ended by its commit.
    mark_notified boolean DEFAULT false,
    -- The policy: what the message names, else the thread's, else the agent's, else the installation's. A message for a
    -- later time always waits, and so does one that its sender's own process answers.
    when_busy text DEFAULT NULL,
    default_when_busy text DEFAULT NULL,
    -- Seconds that a message to be merged waits for more.
    merge_window double precision DEFAULT 0,
    -- The branch of the thread; null for the chosen one.
    branch text DEFAULT NULL
) RETURNS json
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- A plan made while the tables were empty reads them whole until somebody analyzes them.
SET enable_seqscan = off
-- To plan anew for each message costs more than to send it.
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_variable
DECLARE
    row_id CONSTANT text := CASE WHEN branch IS NULL OR branch = 'main' THEN thread_id ELSE thread_id || '/' || branch END;
    obstacle text;
    chosen_agent text;
    stored_key bigint;
    address text;
    is_unowned boolean;
    new_thread_key bigint;
    is_marked boolean;
    waits_for_more boolean;
    has_sender boolean;
    interrupted_id uuid;
    busy_id uuid;
    earlier record;
BEGIN
    -- A second attempt is needed where another transaction commits between two statements.
    FOR attempt IN 1 .. 5 LOOP
        SELECT
            threads.key, threads.id, threads.owner IS NULL, answering.agent,
            CASE
                WHEN max_unfinished_turns > 0 AND max_unfinished_turns <= (
                    -- Counted up to the limit only: a tenant far above it costs no more than one that is just there.
                    SELECT count(*) FROM (
                        SELECT FROM turns
                        WHERE turns.tenant = tenant AND turns.state IN ('queued', 'running', 'waiting')
                        LIMIT max_unfinished_turns
                    ) AS counted
                ) THEN 'limit_reached'
                WHEN NOT allow_unknown_agent AND NOT EXISTS (SELECT FROM agents WHERE agents.name = answering.agent)
                    THEN 'unknown_agent'
                WHEN branch IS NOT NULL AND threads.key IS NULL THEN 'unknown_branch'
            END
        INTO stored_key, address, is_unowned, chosen_agent, obstacle
        -- One row, also of a thread that is not stored.
        FROM (SELECT) AS request
        -- Its branch, if another one than its own row was chosen and none is named.
        LEFT JOIN threads ON threads.key = (
            SELECT coalesce(CASE WHEN branch IS NULL THEN named.chosen_key END, named.key) FROM threads AS named
            WHERE named.tenant = tenant AND named.id = row_id
        )
        CROSS JOIN LATERAL (
            SELECT coalesce(CASE WHEN agent_is_default THEN threads.assigned_agent END, send_turn_v1.agent) AS agent
        ) AS answering;
        IF obstacle IS NULL AND stored_key IS NULL THEN
            -- After a look that found none: on a conflict, this waits for the lock of whoever updates the row.
            INSERT INTO threads (tenant, id, owner, metadata, agent, created_at, updated_at)
            VALUES (tenant, thread_id, "user", '{}', agent, clock_timestamp(), clock_timestamp())
            ON CONFLICT DO NOTHING
            RETURNING threads.key, threads.key, threads.id, false
            INTO new_thread_key, stored_key, address, is_unowned;
            CONTINUE WHEN NOT FOUND;
        END IF;
        IF obstacle IS NULL THEN
            INSERT INTO turns (
                thread_key, id, tenant, state, agent, local_process_id, schedule_id, priority, metadata, sender, not_before,
                deadline, idempotency_key, request_digest, created_at, when_busy, steers, retry_at, notified_at
            )
            SELECT
                threads.key, turn_id, tenant, 'queued',
                CASE WHEN agent_is_default THEN coalesce(threads.assigned_agent, agent) ELSE agent END,
                local_process_id, schedule_id, priority, metadata,
                nullif("user", threads.owner), not_before, deadline, idempotency_key, request_digest, clock_timestamp(),
                policy.name,
                CASE WHEN policy.name = 'steer' THEN ahead.id END,
                -- It keeps its place in the thread, as one that waits for its model does.
                CASE WHEN policy.name = 'merge' AND merge_window > 0
                    THEN clock_timestamp() + make_interval(secs => merge_window) END,
                CASE
                    WHEN NOT mark_notified OR not_before IS NOT NULL OR policy.name = 'merge' AND merge_window > 0
                        THEN NULL
                    WHEN policy.name IN ('interrupt', 'rollback') OR (ahead.state = 'waiting' OR ahead.state = 'queued' AND (
                        ahead.notified_at IS NOT NULL AND ahead.priority >= priority
                        OR ahead.retry_at > clock_timestamp()
                    )) IS NOT TRUE THEN clock_timestamp()
                END
            FROM threads
            CROSS JOIN LATERAL (
                SELECT CASE WHEN not_before IS NULL AND local_process_id IS NULL THEN nullif(coalesce(
                    when_busy, threads.when_busy,
                    (SELECT agents.when_busy FROM agents WHERE agents.name = chosen_agent), default_when_busy
                ), 'enqueue') END AS name
            ) AS policy
            -- The turn that comes first in the thread.
            LEFT JOIN LATERAL (
                SELECT first.id, first.state, first.notified_at, first.priority, first.retry_at FROM turns AS first
                WHERE first.thread_key = threads.key AND (first.state IN ('queued', 'running', 'waiting')) IS TRUE
                    AND (first.attempt > 0 OR first.not_before IS NULL OR first.not_before <= clock_timestamp())
                ORDER BY first.attempt = 0, first.arrival_seq LIMIT 1
            ) AS ahead ON true
            WHERE threads.key = stored_key
                AND (policy.name = 'reject' AND ahead.id IS NOT NULL) IS NOT TRUE
            -- On any conflict: its idempotency key, its own row if the answer to its commit was lost, or another message
            -- that was sent to a free thread in the same moment, and bears no other, either.
            ON CONFLICT DO NOTHING
            RETURNING
                turns.notified_at IS NOT NULL,
                turns.retry_at IS NOT NULL,
                turns.sender IS NOT NULL,
                CASE WHEN turns.when_busy IN ('interrupt', 'rollback') THEN (
                    SELECT running.id FROM turns AS running
                    WHERE running.thread_key = turns.thread_key AND running.state = 'running'
                ) END
            INTO is_marked, waits_for_more, has_sender, interrupted_id;
            IF FOUND THEN
                IF is_unowned AND has_sender THEN
                    -- Not where a worker holds the row: its claim of this turn does the same.
                    UPDATE threads SET owner = "user"
                    WHERE threads.key IN (
                        SELECT unowned.key FROM threads AS unowned
                        WHERE unowned.owner IS NULL AND unowned.key IN (
                            SELECT stored_key
                            UNION ALL
                            -- A thread and all its branches are one user's.
                            SELECT other.key FROM threads AS own
                            JOIN threads AS other
                                ON other.key = own.root_key OR other.root_key = coalesce(own.root_key, own.key)
                            WHERE own.key = stored_key
                        )
                        FOR NO KEY UPDATE SKIP LOCKED
                    );
                END IF;
                IF content IS NOT NULL THEN
                    INSERT INTO inbox_messages (
                        turn_id, index, id, role, content, parts, name, metadata, source, has_attachments, created_at
                    ) VALUES (
                        turn_id, 0, message_id, role, content, parts, name, message_metadata, source,
                        has_attachments, message_created_at
                    );
                END IF;
                IF waits_for_more THEN
                    -- To be woken up when it has waited enough, as `store/notifications.py` says.
                    PERFORM pg_notify('threadmill_turns', stored_key || '@' || round(1000 * merge_window));
                END IF;
                RETURN json_build_object(
                    'turn_id', turn_id, 'is_new', true, 'thread_key', stored_key, 'address', address,
                    'needs_wake_up', not_before IS NULL AND (is_marked OR NOT mark_notified),
                    'interrupts', interrupted_id
                );
            END IF;
        END IF;

        SELECT turns.id, turns.request_digest, threads.id AS address INTO earlier
        FROM turns JOIN threads ON threads.key = turns.thread_key
        WHERE (turns.id = turn_id OR (turns.tenant = tenant AND turns.idempotency_key = idempotency_key))
            -- Of its own tenant alone; as an equality, it would have an index of all turns of the tenant walked through.
            AND turns.tenant IS NOT DISTINCT FROM tenant;
        IF FOUND AND (earlier.id = turn_id OR earlier.request_digest = request_digest) THEN
            RETURN json_build_object(
                'turn_id', earlier.id, 'is_new', earlier.id = turn_id, 'address', earlier.address,
                -- Its own row: the answer to its commit was lost, and nobody was notified.
                'needs_wake_up', earlier.id = turn_id AND not_before IS NULL
            );
        ELSIF FOUND THEN
            obstacle := 'idempotency_conflict';
        END IF;
        IF obstacle IS NULL AND not_before IS NULL AND local_process_id IS NULL THEN
            SELECT first.id INTO busy_id FROM threads
            JOIN turns AS first ON first.thread_key = threads.key AND (first.state IN ('queued', 'running', 'waiting')) IS TRUE
                AND (first.attempt > 0 OR first.not_before IS NULL OR first.not_before <= clock_timestamp())
            WHERE threads.key = stored_key AND 'reject' = coalesce(
                when_busy, threads.when_busy,
                (SELECT agents.when_busy FROM agents WHERE agents.name = chosen_agent), default_when_busy
            )
            ORDER BY first.attempt = 0, first.arrival_seq LIMIT 1;
            IF FOUND THEN
                RETURN json_build_object('refusal', 'thread_busy', 'turn_id', busy_id);
            END IF;
        END IF;
        IF obstacle IS NOT NULL THEN
            -- As a rule, it was there before: a key that was used with another request is met with a new thread, too.
            DELETE FROM threads WHERE threads.key = new_thread_key;
            RETURN json_build_object('refusal', obstacle, 'agent', chosen_agent, 'known_agents', CASE WHEN obstacle = 'unknown_agent' THEN (
                SELECT coalesce(json_agg(known.name), '[]') FROM (SELECT agents.name FROM agents ORDER BY agents.name LIMIT 20) AS known
            ) END);
        END IF;
    END LOOP;
    RETURN json_build_object('refusal', 'changes_too_fast');
END
$$;
