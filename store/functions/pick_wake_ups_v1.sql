-- Picks the heads that no worker holds and whose wake-up is lost, or was never published; marks them as notified.
--
-- Null where there are none; else an array for each, the oldest first: its tenant, its thread, its id, its priority, and
-- its crashes with the one that its next claim would count.
--
-- What stays true: as `store/turns/sweep_statements.py`, to which this is word for word the same but that it finds the
-- heads of threads that are asked for where they stand. It looks at a window of the turns that wait; where it finds none
-- there, it reads nothing else.
CREATE FUNCTION threadmill.pick_wake_ups_v1(
    -- Seconds after which a wake-up counts as lost, unless it may still be in the broker; null: none does.
    p_grace_seconds double precision,
    p_limit integer,
    -- Turns of each kind that are looked at.
    p_window integer,
    -- Turns of a tenant that may run at once; 0 is any number.
    p_tenant_max_running integer,
    -- Wake-ups that the broker holds: of turns that any worker may run, and of those that are run alone.
    p_in_broker integer,
    p_quarantined integer,
    -- Seconds after which a wake-up counts as lost whatever the broker holds, while a worker lives.
    p_stuck_seconds double precision,
    -- The only tenant, and the only threads; null is any.
    p_tenant text,
    p_thread_keys bigint[]
) RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    looked_at CONSTANT timestamptz := clock_timestamp();
    old_since CONSTANT timestamptz := looked_at - make_interval(secs => p_grace_seconds);
    -- The turns that wait, those first whose wake-up is the longest ago.
    line uuid[];
    -- The turns that run according to their row, though no living worker holds their thread.
    lost uuid[];
    candidates uuid[];
    full_tenants text[] := '{}';
    -- A wake-up of then or before is lost: the broker has none left for it.
    lost_since timestamptz := old_since;
    stuck_since timestamptz;
    picked uuid[];
    wake_ups json;
BEGIN
    IF p_thread_keys IS NOT NULL THEN
        candidates := ARRAY(
            SELECT head.id FROM unnest(p_thread_keys) AS asked_for (thread_key) CROSS JOIN LATERAL (
                SELECT id FROM turns
                WHERE turns.thread_key = asked_for.thread_key AND (state IN ('queued', 'running', 'waiting')) IS TRUE
                    AND (attempt > 0 OR not_before IS NULL OR not_before <= looked_at)
                ORDER BY attempt = 0, arrival_seq LIMIT 1
            ) AS head
        );
    ELSE
        IF p_tenant IS NOT NULL THEN
            line := ARRAY(
                -- In the order of the index: those that wait have no end yet.
                SELECT id FROM turns WHERE state = 'queued' AND tenant = p_tenant
                ORDER BY finished_at, arrival_seq LIMIT p_window
            );
        ELSE
            line := ARRAY(
                SELECT id FROM turns
                WHERE state = 'queued' AND notified_at IS NULL
                    AND coalesce(retry_at, not_before, created_at) <= looked_at
                ORDER BY coalesce(retry_at, not_before, created_at) LIMIT p_window
            ) || ARRAY(
                SELECT id FROM turns WHERE state = 'queued' AND notified_at < old_since
                ORDER BY notified_at LIMIT p_window
            );
        END IF;
        lost := ARRAY(
            SELECT id FROM turns WHERE state = 'running' AND (p_tenant IS NULL OR tenant = p_tenant) AND (
                -- By its key alone: where many run, a join may be planned that reads every thread.
                SELECT lease_owner IS NULL
                    OR NOT EXISTS (SELECT FROM workers WHERE id = lease_owner AND lease_expires_at > looked_at)
                FROM threads WHERE key = turns.thread_key
            )
        );
        candidates := line || lost || ARRAY(
            SELECT id FROM turns
            WHERE state IN ('queued', 'running', 'waiting')
                AND coalesce(cancel_requested_at, wait_expires_at, deadline) <= looked_at
            ORDER BY coalesce(cancel_requested_at, wait_expires_at, deadline) LIMIT p_window
        ) || ARRAY(
            -- Those that wait for their retry, and are to be ended by one that came after them.
            SELECT before.id FROM turns AS before JOIN turns AS asking ON asking.thread_key = before.thread_key
            -- As the index has it, which holds those that ended elsewhere.
            WHERE before.state IN ('queued', 'running', 'waiting') AND before.state <> 'running'
                AND before.attempt > 0 AND before.arrival_seq < asking.arrival_seq
                AND asking.state IN ('queued', 'running', 'waiting') AND asking.when_busy IN ('interrupt', 'rollback')
            LIMIT p_window
        );
    END IF;
    IF candidates = '{}' THEN
        RETURN NULL;
    END IF;
    IF p_in_broker + p_quarantined > 0 THEN
        -- As many wake-ups as the broker holds are those of the newest.
        SELECT notified_at INTO lost_since FROM (
            (
                SELECT notified_at FROM turns
                WHERE state = 'queued' AND notified_at IS NOT NULL AND crashes <> 2
                ORDER BY notified_at DESC LIMIT p_in_broker + 1
            ) UNION ALL (
                -- Of the turns that run for nobody, too: a crash may leave many.
                SELECT notified_at FROM turns
                WHERE id = ANY (lost) AND notified_at IS NOT NULL AND crashes <> 1
                ORDER BY notified_at DESC LIMIT p_in_broker + 1
            )
        ) AS outstanding
        ORDER BY notified_at DESC OFFSET p_in_broker LIMIT 1;
        IF EXISTS (SELECT FROM workers WHERE lease_expires_at > looked_at) THEN
            stuck_since := looked_at - make_interval(secs => p_stuck_seconds);
        END IF;
    END IF;
    IF p_tenant_max_running > 0 THEN
        full_tenants := ARRAY(
            SELECT tenant FROM turns WHERE state = 'running' GROUP BY tenant HAVING count(*) >= p_tenant_max_running
        );
    END IF;

    picked := ARRAY(
        SELECT turns.id FROM turns JOIN threads ON threads.key = turns.thread_key
        WHERE turns.id = ANY (candidates) AND (p_tenant IS NULL OR turns.tenant = p_tenant)
            AND turns.state IN ('queued', 'running', 'waiting')
            AND (
                turns.notified_at IS NULL
                OR turns.notified_at < old_since AND (
                    CASE
                        WHEN p_in_broker + p_quarantined = 0 THEN true
                        WHEN turns.crashes + (turns.state = 'running')::integer = 2
                            THEN p_quarantined = 0
                        ELSE turns.notified_at <= lost_since
                    END
                    OR turns.notified_at < stuck_since
                )
            )
            -- It is the head.
            AND turns.arrival_seq = (
                SELECT arrival_seq FROM turns AS siblings
                WHERE siblings.thread_key = turns.thread_key AND (siblings.state IN ('queued', 'running', 'waiting')) IS TRUE
                    AND (siblings.attempt > 0 OR siblings.not_before IS NULL OR siblings.not_before <= looked_at)
                ORDER BY siblings.attempt = 0, siblings.arrival_seq LIMIT 1
            )
            -- It has work, or it is only to be ended, perhaps by one that came after it.
            AND (
                turns.state <> 'waiting' AND (turns.retry_at IS NULL OR turns.retry_at <= looked_at)
                OR turns.cancel_requested_at IS NOT NULL OR turns.deadline <= looked_at
                OR turns.wait_expires_at <= looked_at
                OR EXISTS (
                    SELECT FROM turns AS asking
                    WHERE asking.thread_key = turns.thread_key AND asking.state IN ('queued', 'running', 'waiting')
                        AND asking.when_busy IN ('interrupt', 'rollback') AND asking.arrival_seq > turns.arrival_seq
                        AND (turns.attempt > 0 OR turns.not_before IS NULL OR turns.not_before <= asking.created_at)
                )
            )
            -- A turn that broke off in the middle is counted already.
            AND (turns.state = 'running' OR turns.tenant <> ALL (full_tenants))
            -- It is for workers, or its library process is dead.
            AND (
                turns.local_process_id IS NULL
                OR NOT EXISTS (SELECT FROM workers WHERE id = turns.local_process_id AND lease_expires_at > looked_at)
            )
            AND (
                threads.lease_owner IS NULL
                OR NOT EXISTS (SELECT FROM workers WHERE id = threads.lease_owner AND lease_expires_at > looked_at)
            )
        ORDER BY turns.arrival_seq LIMIT p_limit
        FOR UPDATE OF turns SKIP LOCKED
    );
    WITH notified AS (
        UPDATE turns SET notified_at = clock_timestamp() WHERE id = ANY (picked)
        RETURNING arrival_seq, tenant, thread_key, id, priority, crashes + (state = 'running')::integer AS crashes
    )
    SELECT json_agg(
        json_build_array(
            tenant, (SELECT threads.id FROM threads WHERE key = thread_key), id, priority, crashes
        ) ORDER BY arrival_seq
    ) INTO wake_ups FROM notified;
    IF p_tenant IS NULL AND cardinality(line) >= p_window AND cardinality(picked) < p_limit THEN
        -- Those of the line that wait for others leave a sweep too little to pick: they go to its end.
        UPDATE turns SET notified_at = clock_timestamp() WHERE id IN (
            SELECT id FROM turns WHERE id = ANY (line) AND id <> ALL (picked) AND state = 'queued'
            FOR UPDATE SKIP LOCKED
        );
    END IF;
    RETURN wake_ups;
END
$$;
