-- Claims a thread's next turn: takes the lease, moves the head's inputs into the history, freezes and reads its window.
--
-- Null where nothing is due; {"quarantined": id} where only a worker that runs such turns alone may claim the head;
-- else the turn as `store/turns/claim_call.py` reads it, whose journal and files are read by a statement of their own.
--
-- What stays true: as `store/turns/claim_statements.py`, to which this does the same. The thread's row is
-- locked first, and the head is read in a later statement, since an older snapshot would miss what the last holder
-- committed. A claim that finds nothing due changes nothing but, at most, the lease, which it releases.
CREATE FUNCTION threadmill.claim_turn_v1(
    p_tenant text,
    p_thread_id text,
    p_worker uuid,
    -- The token of a claimant that goes on with the thread, else null.
    p_held_token bigint,
    -- What the claimant serves: {name: [version, messages that a window has at most or null]}.
    p_agents jsonb,
    -- The id of a library process, else null; it runs its own turns only.
    p_local_process_id uuid,
    -- The only turn that may be claimed, else null.
    p_only_turn uuid,
    p_runs_quarantine boolean,
    -- Turns of the tenant that may run at once; 0 is any number.
    p_tenant_max_running integer,
    -- Messages that are answered together, at most.
    p_merge_max integer
) RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    thread record;
    claimed_at timestamptz;
    holder uuid;
    head record;
    must_end boolean;
    may_start boolean;
    has_crashed boolean;
    turn record;
    -- The turns whose messages this one answers, its own first.
    input_turns uuid[];
    history_end bigint;
    summary_text text;
    -- Messages up to there are in the summary.
    summary_to_seq bigint := 0;
    context_texts json;
    -- Whether turns that had begun were taken out of view: the model is told what those did.
    has_rolled_back boolean;
    after_seq bigint;
    window_messages json;
    shared_messages json;
BEGIN
    SELECT key, lease_owner, fencing_token, last_seq, summary_id, context_version, history_starts_after, owner, lineage
    INTO thread
    FROM threads WHERE tenant = p_tenant AND id = p_thread_id
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    claimed_at := clock_timestamp();
    holder := CASE WHEN thread.fencing_token = p_held_token THEN NULL ELSE thread.lease_owner END;
    IF holder IS NOT NULL AND EXISTS (SELECT FROM workers WHERE id = holder AND lease_expires_at > claimed_at) THEN
        RETURN NULL;
    END IF;

    -- Twice, where a turn interrupts: what that ends may have been the head.
    FOR look IN 1 .. 2 LOOP
        -- The turn that has begun, else the oldest that is due.
        SELECT
            *,
            EXISTS (
                SELECT FROM turns
                WHERE thread_key = thread.key AND state IN ('queued', 'running', 'waiting') AND when_busy IN ('interrupt', 'rollback')
            ) AS is_beside_interrupting,
            EXISTS (SELECT FROM turns WHERE thread_key = thread.key AND rolled_back AND attempt > 0) AS is_beside_rolled_back
        INTO head FROM turns
        WHERE thread_key = thread.key AND (state IN ('queued', 'running', 'waiting')) IS TRUE
            AND (attempt > 0 OR not_before IS NULL OR not_before <= claimed_at)
        ORDER BY attempt = 0, arrival_seq LIMIT 1;
        EXIT WHEN look = 2 OR head.is_beside_interrupting IS NOT TRUE;
        PERFORM threadmill.interrupt_turns_v1(thread.key);
    END LOOP;
    has_rolled_back := head.is_beside_rolled_back;

    must_end := head.cancel_requested_at IS NOT NULL OR coalesce(head.deadline <= claimed_at, false)
        OR coalesce(head.wait_expires_at <= claimed_at, false);
    may_start := head.local_process_id IS NOT DISTINCT FROM p_local_process_id
        AND (p_only_turn IS NULL OR head.id = p_only_turn)
        -- To end a turn needs nothing of its agent.
        AND (p_agents ? head.agent OR must_end AND p_local_process_id IS NULL);
    IF NOT may_start AND head.local_process_id IS NOT NULL THEN
        -- Abandoned: no other process may run the turn, any may end it.
        may_start := NOT EXISTS (SELECT FROM workers WHERE id = head.local_process_id AND lease_expires_at > claimed_at);
    END IF;
    may_start := may_start AND (
        head.state <> 'waiting' AND (head.retry_at IS NULL OR head.retry_at <= claimed_at) OR must_end
    );
    IF may_start AND p_tenant_max_running > 0 AND head.state <> 'running' THEN
        may_start := p_tenant_max_running > (SELECT count(*) FROM turns WHERE tenant = p_tenant AND state = 'running');
    END IF;

    IF may_start IS NOT TRUE THEN
        IF holder IS NULL AND thread.lease_owner IS NOT NULL THEN
            UPDATE threads SET lease_owner = NULL WHERE key = thread.key;
        END IF;
        RETURN NULL;
    END IF;

    -- Without an owner nothing crashed: this very process goes on, or a failover lost the turn's end.
    has_crashed := head.state = 'running' AND holder IS NOT NULL;
    IF head.crashes + has_crashed::integer = 2 AND NOT p_runs_quarantine
        -- A turn of another process is only ended.
        AND (head.local_process_id IS NULL OR head.local_process_id IS NOT DISTINCT FROM p_local_process_id)
    THEN
        RETURN json_build_object('quarantined', head.id);
    END IF;

    IF head.state = 'running' THEN
        INSERT INTO turn_attempts (turn_id, number, worker_id, started_at, ended_at, outcome)
        VALUES (
            head.id, head.attempt, holder, head.attempt_started_at, claimed_at,
            CASE WHEN has_crashed THEN 'crashed' ELSE 'interrupted' END
        );
    END IF;

    IF head.wait_expires_at IS NOT NULL THEN
        -- It waited, and is only ended: what nobody decided is closed.
        UPDATE pending_calls SET decision = 'closed', decided_at = claimed_at
        WHERE turn_id = head.id AND decision IS NULL;
        UPDATE slack_messages SET due_at = claimed_at
        WHERE tenant = p_tenant AND turn_id = head.id AND state = 'waiting';
    END IF;
    input_turns := ARRAY[head.id];
    IF head.when_busy = 'merge' AND head.attempt = 0 AND head.local_process_id IS NULL AND NOT must_end THEN
        -- Those directly behind it that may be answered with it: the same agent, asked by the same user.
        WITH behind AS (
            SELECT id, arrival_seq, row_number() OVER (ORDER BY arrival_seq) AS place, (
                state = 'queued' AND when_busy = 'merge' AND agent = head.agent AND local_process_id IS NULL
                AND cancel_requested_at IS NULL AND deadline IS NOT DISTINCT FROM head.deadline
                AND coalesce(sender, thread.owner) IS NOT DISTINCT FROM coalesce(head.sender, thread.owner)
            ) IS TRUE AS fits
            FROM turns
            WHERE thread_key = thread.key AND (state IN ('queued', 'running', 'waiting')) IS TRUE AND arrival_seq > head.arrival_seq
                AND (not_before IS NULL OR not_before <= claimed_at)
            ORDER BY arrival_seq LIMIT p_merge_max
        ), merged AS (
            UPDATE turns SET
                state = 'merged', merged_into = head.id, finished_at = claimed_at, notified_at = NULL, retry_at = NULL
            WHERE id IN (
                SELECT id FROM behind
                WHERE place < p_merge_max AND place < coalesce((SELECT min(place) FROM behind WHERE NOT fits), p_merge_max)
            )
            RETURNING id, arrival_seq
        )
        SELECT input_turns || coalesce(array_agg(id ORDER BY arrival_seq), '{}') INTO input_turns FROM merged;
    END IF;

    UPDATE turns SET
        state = 'running',
        attempt = attempt + 1,
        crashes = crashes + has_crashed::integer,
        crashed_worker = CASE WHEN has_crashed THEN holder ELSE crashed_worker END,
        -- The version in force goes on with what another version began.
        agent_version = coalesce(p_agents -> agent ->> 0, agent_version),
        retry_at = NULL,
        notified_at = NULL,
        started_at = coalesce(started_at, claimed_at),
        attempt_started_at = claimed_at,
        window_to_seq = coalesce(
            window_to_seq, thread.last_seq + (SELECT count(*) FROM inbox_messages WHERE turn_id = ANY (input_turns))
        ),
        -- A first claim without a summary has frozen its absence, too.
        window_summary_id = CASE WHEN attempt = 0 THEN thread.summary_id ELSE window_summary_id END,
        window_context_version = coalesce(window_context_version, thread.context_version),
        first_fencing_token = coalesce(first_fencing_token, thread.fencing_token + 1),
        fencing_token = thread.fencing_token + 1
    WHERE id = head.id
    -- Steered by what was told while it ran, or before it began.
    RETURNING *, EXISTS (SELECT FROM turns AS told WHERE told.steers = turns.id AND told.state = 'queued') AS is_steered
    INTO turn;

    history_end := greatest(thread.last_seq, turn.window_to_seq);
    WITH inputs AS (
        DELETE FROM inbox_messages WHERE turn_id = ANY (input_turns) RETURNING *
    ), moved AS (
        INSERT INTO messages (
            thread_key, seq, turn_id, tokens,
            id, role, content, parts, name, metadata, source, has_attachments, created_at
        )
        SELECT
            thread.key, thread.last_seq + row_number() OVER (ORDER BY array_position(input_turns, turn_id), index),
            turn_id, 4 + length(content) / 4,
            id, role, content, parts, name, metadata, source, has_attachments, created_at
        FROM inputs
        RETURNING tokens
    )
    UPDATE threads SET
        lease_owner = p_worker,
        fencing_token = thread.fencing_token + 1,
        last_seq = history_end,
        uncovered_messages = uncovered_messages + history_end - thread.last_seq,
        uncovered_tokens = uncovered_tokens + (SELECT coalesce(sum(tokens), 0) FROM moved),
        agent = turn.agent,
        -- Whoever sent while this row was locked could not make it theirs.
        owner = coalesce(owner, turn.sender),
        updated_at = claimed_at
    WHERE key = thread.key;

    IF turn.window_summary_id IS NOT NULL THEN
        -- With its owner: an id alone may be another tenant's.
        SELECT content, to_seq INTO summary_text, summary_to_seq FROM summaries
        WHERE thread_key = thread.key AND id = turn.window_summary_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the summary of the window is not stored' USING ERRCODE = 'data_exception';
        END IF;
    END IF;
    IF turn.window_context_version > 0 THEN
        SELECT json_agg(content ORDER BY thread_context.key) INTO context_texts
        FROM thread_context WHERE thread_key = thread.key;
    END IF;

    -- Counted from behind the summary: else the start could jump over what no summary covers yet.
    after_seq := summary_to_seq + threadmill.window_start_v1(
        greatest(turn.window_to_seq - summary_to_seq, 0), (p_agents -> turn.agent ->> 1)::bigint
    );
    SELECT json_agg(json_build_array(
        seq, turn_id, id, role, content, parts, name, metadata, source, has_attachments, created_at,
        tool_calls, tool_call_id, reasoning, provider_fields, usage, tokens, state
    )) INTO window_messages
    FROM (
        -- System messages of any age stay in the window.
        (SELECT * FROM messages
        WHERE thread_key = thread.key AND role = 'system' AND seq > thread.history_starts_after
            AND seq <= least(after_seq, turn.window_to_seq) AND NOT rolled_back
        ORDER BY seq)
        UNION ALL
        (SELECT * FROM messages
        WHERE thread_key = thread.key AND seq > greatest(after_seq, thread.history_starts_after)
            AND seq <= turn.window_to_seq AND NOT rolled_back
        ORDER BY seq)
    ) AS messages_in_order;
    IF thread.lineage IS NOT NULL THEN
        -- What a branch shares comes before its own messages: `store/lineage.py` says where it stands.
        SELECT json_agg(json_build_array(
            seq, turn_id, id, role, content, parts, name, metadata, source, has_attachments, created_at,
            tool_calls, tool_call_id, reasoning, provider_fields, usage, tokens, state
        )) INTO shared_messages
        FROM (
            SELECT shared.* FROM jsonb_array_elements(thread.lineage) AS part
            CROSS JOIN LATERAL (
                SELECT * FROM messages
                WHERE thread_key = (part ->> 0)::bigint AND role = 'system' AND seq > thread.history_starts_after
                    AND seq <= least((part ->> 1)::bigint, after_seq, turn.window_to_seq) AND NOT rolled_back
                ORDER BY seq
            ) AS shared
            WHERE part ->> 2 = '1' AND after_seq > 0
            UNION ALL
            SELECT shared.* FROM jsonb_array_elements(thread.lineage) AS part
            CROSS JOIN LATERAL (
                SELECT * FROM messages
                WHERE thread_key = (part ->> 0)::bigint AND seq > greatest(after_seq, thread.history_starts_after)
                    AND seq <= least((part ->> 1)::bigint, turn.window_to_seq) AND NOT rolled_back
                -- In a join, the planner could read more than it needs.
                ORDER BY seq
            ) AS shared
            WHERE (part ->> 1)::bigint > greatest(after_seq, thread.history_starts_after)
        ) AS messages_in_order;
        has_rolled_back := has_rolled_back OR EXISTS (
            SELECT FROM jsonb_array_elements(thread.lineage) AS part
            JOIN turns ON thread_key = (part ->> 0)::bigint AND rolled_back AND attempt > 0
            WHERE turns.window_to_seq <= (part ->> 1)::bigint
        );
    END IF;

    RETURN json_build_object(
        'thread_key', thread.key,
        'lineage', thread.lineage,
        'fencing_token', thread.fencing_token + 1,
        'id', turn.id,
        'agent', turn.agent,
        'attempt', turn.attempt,
        'retries', turn.retries,
        'failing_seconds', extract(epoch FROM claimed_at - turn.failing_since),
        'crashes', turn.crashes,
        'interruptions', turn.interruptions,
        'error_kind', turn.error_kind,
        'local_process_id', turn.local_process_id,
        'parent_turn_id', turn.parent_turn_id,
        'depth', turn.depth,
        'is_cancel_requested', turn.cancel_requested_at IS NOT NULL,
        'remaining_seconds', extract(epoch FROM turn.deadline - claimed_at),
        'has_journal', turn.attempt > 1 OR turn.requeued_from IS NOT NULL,
        'wait_is_over', coalesce(turn.wait_expires_at <= claimed_at, false),
        'window_to_seq', turn.window_to_seq,
        'metadata', turn.metadata,
        'user', coalesce(turn.sender, thread.owner),
        'thread_owner', coalesce(thread.owner, turn.sender),
        'summary', summary_text,
        'context', context_texts,
        'shared_window', shared_messages,
        'window', window_messages,
        'is_steered', turn.is_steered,
        'has_rolled_back', has_rolled_back
    );
END
$$;
