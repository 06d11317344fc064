-- Ends the turns before those of a thread that were sent to interrupt, or to roll back.
--
-- What stays true: as `store/turns/interrupts.py`, to which this is word for word the same. The caller holds the lock
-- of the thread's row, so whoever sends needs none. Turns are asked to stop; one that had not begun begins only to end,
-- so that what its user said stands in the history, or is cancelled at once where that is to be out of view. A turn is
-- before another one if it arrived before it, and was due when that was sent.
CREATE FUNCTION threadmill.interrupt_turns_v1(p_thread_key bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path FROM CURRENT
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    asking record;
BEGIN
    FOR asking IN
        SELECT id, arrival_seq, created_at, when_busy FROM turns
        WHERE thread_key = p_thread_key AND state IN ('queued', 'running', 'waiting') AND when_busy IN ('interrupt', 'rollback')
        ORDER BY arrival_seq
    LOOP
        UPDATE turns SET
            cancel_requested_at = coalesce(cancel_requested_at, asking.created_at),
            interrupted_by = CASE WHEN cancel_requested_at IS NULL THEN asking.id ELSE interrupted_by END,
            rolled_back = (asking.when_busy = 'rollback' OR rolled_back),
            -- A turn that waits for its model is due now, so that its holder can end it.
            retry_at = NULL,
            -- A claim ends one that another turn waits for: it tells that turn.
            state = CASE
                WHEN asking.when_busy = 'rollback' AND state = 'queued' AND attempt = 0 AND parent_turn_id IS NULL
                    THEN 'cancelled'
                ELSE state
            END,
            finished_at = CASE
                WHEN asking.when_busy = 'rollback' AND state = 'queued' AND attempt = 0 AND parent_turn_id IS NULL
                    THEN clock_timestamp()
            END
        WHERE thread_key = p_thread_key AND (state IN ('queued', 'running', 'waiting')) IS TRUE AND arrival_seq < asking.arrival_seq
            AND (attempt > 0 OR not_before IS NULL OR not_before <= asking.created_at)
            AND (cancel_requested_at IS NULL OR asking.when_busy = 'rollback' AND NOT rolled_back);
    END LOOP;
END
$$;
