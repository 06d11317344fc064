-- Settles a turn: writes its replies, its last steps and its state, and keeps or releases the thread's lease.
--
-- {"refusal": "not_stored"} or {"refusal": "not_held"} where the lease is lost: then nothing is written;
-- {"keeps_lease": …} where it was settled before; else the outcome as `store/turns/settle_call.py` reads it.
--
-- What stays true: as `store/turns/settle_statements.py`, to which this is word for word the same. Running it twice
-- changes nothing. After every end the next head is looked for in the same transaction, so that no wake-up is needed
-- for a message that arrived meanwhile. No reply here has attachments: their blobs are locked by plain statements.
CREATE FUNCTION threadmill.settle_turn_v1(
    p_thread_key bigint,
    p_fencing_token bigint,
    p_worker uuid,
    p_turn_id uuid,
    -- Keep the lease, if another turn can start.
    p_keep_lease boolean,
    -- completed, failed or cancelled; queued for a turn that goes on later, waiting for one that needs a decision.
    p_state text,
    -- Of a turn that is queued again: the seconds until its retry, null where it is handed over.
    p_retry_seconds double precision,
    -- Of one that is retried: its model was known to be away, and was not asked.
    p_is_put_off boolean,
    -- The breaker that it waits for, else null.
    p_waits_for text,
    p_usage json,
    p_cost double precision,
    p_omitted jsonb,
    p_window_tokens bigint,
    -- The agent that the thread is handed over to, else null.
    p_hands_over_to text,
    -- Null of an ending without an error; what stood there stays.
    p_error_kind text,
    p_error_message text,
    p_error_retryable boolean,
    p_error_fault text,
    -- Rows of `messages`, each with its position behind the history's end as `seq`; null where there are none.
    p_messages json,
    -- Rows of `steps`; null where there are none.
    p_steps json,
    -- Rows of `pending_calls`, with the seconds until each expires; null of a turn that waits for nothing.
    p_pending json
) RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    held record;
    turn record;
    settled_at timestamptz;
    is_final boolean := p_state NOT IN ('queued', 'waiting');
    is_retry boolean := p_retry_seconds IS NOT NULL;
    replies integer := 0;
    reply_tokens bigint := 0;
    head record;
    next_turn_id uuid;
    thread record;
BEGIN
    SELECT fencing_token, lease_owner, last_seq INTO held FROM threads WHERE key = p_thread_key
    FOR NO KEY UPDATE;
    -- In a later statement: an older snapshot would have the turn as it was before the wait for the lock. By its id
    -- alone: a plan that was made on empty tables would look for it among all turns of the thread.
    SELECT
        thread_key, state, attempt, attempt_started_at, retry_at, tenant, rolled_back,
        EXISTS (
            SELECT FROM turns
            WHERE thread_key = p_thread_key AND state IN ('queued', 'running', 'waiting') AND when_busy IN ('interrupt', 'rollback')
        ) AS is_beside_interrupting,
        EXISTS (SELECT FROM steps WHERE turn_id = p_turn_id AND state IN ('waiting', 'started')) AS has_open_steps
    INTO turn FROM turns WHERE id = p_turn_id;
    IF held.last_seq IS NULL OR turn.thread_key IS DISTINCT FROM p_thread_key THEN
        RETURN json_build_object('refusal', 'not_stored');
    END IF;
    -- A turn that is queued again was settled under this token, and its next run needs another.
    IF held.fencing_token <> p_fencing_token OR turn.state IN ('queued', 'waiting')
        OR turn.state = 'running' AND held.lease_owner IS DISTINCT FROM p_worker
    THEN
        RETURN json_build_object('refusal', 'not_held');
    END IF;
    IF turn.state <> 'running' THEN
        RETURN json_build_object('keeps_lease', held.lease_owner IS NOT DISTINCT FROM p_worker);
    END IF;
    settled_at := clock_timestamp();
    IF turn.is_beside_interrupting THEN
        PERFORM threadmill.interrupt_turns_v1(p_thread_key);
    END IF;

    IF is_final THEN
        UPDATE turns SET
            -- A cancel request came before this commit: the reply is kept, the turn is cancelled.
            state = CASE
                WHEN p_state = 'completed' AND cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE p_state
            END,
            finished_at = settled_at,
            usage = p_usage,
            cost = p_cost,
            omitted = p_omitted,
            -- What an earlier attempt failed of is over: its row in turn_attempts says it.
            error_kind = p_error_kind,
            error_message = p_error_message,
            error_retryable = p_error_retryable,
            error_fault = p_error_fault
        WHERE id = p_turn_id
        RETURNING rolled_back, state INTO turn.rolled_back, turn.state;
        IF turn.state = 'cancelled' THEN
            -- What it left open: whoever asked for it took that back.
            UPDATE pending_calls SET decision = 'closed', decided_at = settled_at
            WHERE turn_id = p_turn_id AND decision IS NULL;
        END IF;
    ELSIF p_state = 'waiting' THEN
        INSERT INTO pending_calls (
            turn_id, call_id, tenant, step_index, kind, name, arguments, arguments_digest, question, choices, schema,
            requested_at, expires_at
        )
        SELECT
            p_turn_id, call_id, turn.tenant, step_index, kind, name, arguments, arguments_digest, question, choices,
            schema, settled_at, settled_at + make_interval(secs => expire_seconds)
        FROM json_to_recordset(p_pending) AS pending (
            call_id text, step_index integer, kind text, name text, arguments text, arguments_digest text,
            question text, choices jsonb, schema jsonb, expire_seconds double precision
        );
        UPDATE turns SET
            state = 'waiting',
            notified_at = NULL,
            waits_for = NULL,
            failing_since = NULL,
            -- Decided anywhere, it goes on wherever its agent is served.
            local_process_id = NULL,
            wait_expires_at = least(deadline, (
                SELECT min(expires_at) FROM pending_calls WHERE turn_id = p_turn_id AND decision IS NULL
                    -- It went on without the others.
                    AND NOT EXISTS (
                        SELECT FROM steps
                        WHERE steps.turn_id = p_turn_id AND steps.index = pending_calls.step_index
                            AND steps.state IN ('finished', 'failed', 'unknown')
                    )
            ))
        WHERE id = p_turn_id;
        INSERT INTO turn_attempts (turn_id, number, worker_id, started_at, ended_at, outcome)
        VALUES (p_turn_id, turn.attempt, p_worker, turn.attempt_started_at, settled_at, 'waited');
    ELSE
        UPDATE turns SET
            state = 'queued',
            notified_at = NULL,
            retries = retries + (is_retry AND NOT p_is_put_off)::integer,
            -- A run for which its process lacked something counts as a crash would.
            crashes = crashes + (NOT is_retry AND p_error_kind IS NOT NULL)::integer,
            interruptions = interruptions + (NOT is_retry AND p_error_kind IS NULL)::integer,
            -- A turn with a cancel request is due now, so that its next holder can end it.
            retry_at = CASE
                WHEN NOT is_retry THEN retry_at
                WHEN cancel_requested_at IS NULL THEN settled_at + make_interval(secs => p_retry_seconds)
            END,
            failing_since = CASE WHEN is_retry THEN coalesce(failing_since, settled_at) ELSE failing_since END,
            waits_for = p_waits_for,
            error_kind = coalesce(p_error_kind, error_kind),
            error_message = coalesce(p_error_message, error_message),
            error_retryable = coalesce(p_error_retryable, error_retryable),
            error_fault = coalesce(p_error_fault, error_fault)
        WHERE id = p_turn_id
        RETURNING retry_at INTO turn.retry_at;
        UPDATE turn_attempts SET
            number = turn.attempt,
            worker_id = p_worker,
            ended_at = settled_at,
            error_kind = p_error_kind,
            error_message = p_error_message,
            error_fault = p_error_fault,
            next_try_at = turn.retry_at
        WHERE p_is_put_off AND turn_id = p_turn_id AND number = turn.attempt - 1 AND outcome = 'put_off';
        IF NOT FOUND THEN
            INSERT INTO turn_attempts (
                turn_id, number, worker_id, started_at, ended_at, outcome, error_kind, error_message, error_fault,
                next_try_at
            ) VALUES (
                p_turn_id, turn.attempt, p_worker, turn.attempt_started_at, settled_at,
                CASE WHEN p_is_put_off THEN 'put_off' WHEN is_retry THEN 'retried' ELSE 'interrupted' END,
                p_error_kind, p_error_message, p_error_fault, CASE WHEN is_retry THEN turn.retry_at END
            );
        END IF;
    END IF;

    IF p_messages IS NOT NULL THEN
        WITH added AS (
            INSERT INTO messages (
                thread_key, seq, turn_id, id, role, content, parts, name, metadata, source, has_attachments, created_at,
                tool_calls, tool_call_id, reasoning, provider_fields, usage, tokens, state
            )
            SELECT
                p_thread_key, held.last_seq + seq, coalesce(turn_id, p_turn_id), id, role, content, parts, name, metadata,
                source, coalesce(has_attachments, false), created_at, tool_calls, tool_call_id, reasoning, provider_fields::json, usage, tokens, state
            FROM json_to_recordset(p_messages) AS reply (
                seq bigint, turn_id uuid, id text, role text, content text, parts jsonb, name text, metadata jsonb, source jsonb,
                created_at timestamptz, tool_calls jsonb, tool_call_id text, reasoning text,
                -- JSON as text, for its bytes are kept as they came.
                provider_fields text,
                usage json, tokens integer, state text, has_attachments boolean
            )
            RETURNING tokens
        )
        SELECT count(*), sum(tokens) INTO replies, reply_tokens FROM added;
    END IF;
    IF is_final AND turn.rolled_back THEN
        -- What it asked, what it was told and what it said goes out of view with it.
        UPDATE messages SET rolled_back = true
        WHERE thread_key = p_thread_key AND turn_id IN (
            SELECT p_turn_id UNION ALL SELECT id FROM turns WHERE merged_into = p_turn_id
        );
    END IF;
    IF p_state IN ('failed', 'cancelled') AND turn.has_open_steps THEN
        -- The outcome of a call that is still open is unknown.
        UPDATE steps SET state = 'unknown', finished_at = settled_at
        WHERE turn_id = p_turn_id AND kind = 'tool' AND state = 'started';
    END IF;
    IF p_steps IS NOT NULL THEN
        -- Without ON CONFLICT, which writes more to the log: who writes steps holds the thread's lock.
        IF turn.has_open_steps THEN
            UPDATE steps SET
                name = entry.name, request_digest = entry.request_digest, state = entry.state,
                fencing_token = p_fencing_token, result = entry.result, usage = entry.usage, cost = entry.cost,
                finished_at = CASE WHEN entry.state NOT IN ('waiting', 'started') THEN settled_at END,
                -- Of a call whose outcome is unknown, nobody knows more than when it began.
                started_at = CASE
                    WHEN entry.state = 'unknown' THEN steps.started_at
                    ELSE settled_at - make_interval(secs => entry.seconds)
                END
            FROM json_to_recordset(p_steps) AS entry (
                index integer, name text, state text, request_digest text, result jsonb, usage json,
                cost double precision, seconds double precision
            )
            WHERE steps.turn_id = p_turn_id AND steps.index = entry.index
                -- A final step stays as it was.
                AND steps.state IN ('waiting', 'started');
        END IF;
        INSERT INTO steps (
            turn_id, index, kind, call_id, name, state, fencing_token, request_digest, result, usage, cost,
            parent, agent, started_at, finished_at
        )
        SELECT
            p_turn_id, index, kind, call_id, name, state, p_fencing_token, request_digest, result, usage, cost,
            parent, agent, settled_at - make_interval(secs => seconds),
            CASE WHEN state NOT IN ('waiting', 'started') THEN settled_at END
        FROM json_to_recordset(p_steps) AS entry (
            index integer, kind text, call_id text, name text, state text, request_digest text, result jsonb,
            usage json, cost double precision, parent integer, agent text, seconds double precision
        )
        WHERE NOT EXISTS (
            SELECT FROM steps AS stored WHERE stored.turn_id = p_turn_id AND stored.index = entry.index
        );
    END IF;

    IF is_final THEN
        -- A turn that is queued again is itself the head: no later turn can start.
        SELECT id, state, retry_at, cancel_requested_at, deadline, wait_expires_at, local_process_id
        INTO head FROM turns
        WHERE thread_key = p_thread_key AND id <> p_turn_id AND (state IN ('queued', 'running', 'waiting')) IS TRUE
            AND (attempt > 0 OR not_before IS NULL OR not_before <= settled_at)
        ORDER BY attempt = 0, arrival_seq LIMIT 1;
        -- The turn of a library process may be the head without being a worker's to start.
        IF head.local_process_id IS NULL AND (
            head.state <> 'waiting' AND (head.retry_at IS NULL OR head.retry_at <= settled_at)
            OR head.cancel_requested_at IS NOT NULL OR head.deadline <= settled_at OR head.wait_expires_at <= settled_at
        ) THEN
            next_turn_id := head.id;
        END IF;
    END IF;
    UPDATE threads SET
        last_seq = held.last_seq + replies,
        uncovered_messages = uncovered_messages + replies,
        uncovered_tokens = uncovered_tokens + reply_tokens,
        window_tokens = CASE WHEN is_final THEN p_window_tokens ELSE window_tokens END,
        assigned_agent = coalesce(p_hands_over_to, assigned_agent),
        updated_at = settled_at,
        lease_owner = CASE WHEN p_keep_lease AND next_turn_id IS NOT NULL THEN p_worker END
    WHERE key = p_thread_key
    RETURNING
        lease_owner, uncovered_messages, uncovered_tokens, window_tokens,
        summary_failures < 5 AND coalesce(summary_retry_at <= settled_at, true) AS is_summarizable
    INTO thread;

    RETURN json_build_object(
        'next_turn_id', next_turn_id,
        'keeps_lease', thread.lease_owner IS NOT NULL,
        'uncovered_messages', CASE WHEN thread.is_summarizable THEN thread.uncovered_messages ELSE 0 END,
        'uncovered_tokens', CASE WHEN thread.is_summarizable THEN thread.uncovered_tokens ELSE 0 END,
        'window_tokens', thread.window_tokens
    );
END
$$;
