-- Writes a delivery for each webhook that is told that a thread's id stands for another branch: in the transaction that
-- chooses it, whoever that is.
--
-- What stays true: as `store/tables/webhooks.py` has it for SQLite, and with its owner's rights as
-- `record_turn_event_v1`.
CREATE FUNCTION threadmill.record_switch_v1() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
-- A plan is made on a table that may be empty then, and kept.
SET enable_seqscan = off
AS $$
DECLARE
    nobody_sends boolean;
BEGIN
    WITH told AS (
        INSERT INTO webhook_deliveries (
            id, tenant, webhook_id, thread_key, kind, created_at, details, state, next_try_at
        )
        SELECT
            threadmill.new_id_v1(), NEW.tenant, webhook.id, NEW.key, 'thread.switched', clock_timestamp(),
            jsonb_build_object(
                'agent', chosen.agent,
                'branch', coalesce(nullif(split_part(chosen.id, '/', 2), ''), 'main'),
                'shared_to_seq', coalesce(chosen.shared_to_seq, 0)
            ),
            'pending', clock_timestamp()
        FROM webhooks AS webhook
        JOIN threads AS chosen ON chosen.key = coalesce(NEW.chosen_key, NEW.key)
        WHERE webhook.tenant = NEW.tenant AND webhook.state = 'enabled'
            AND (webhook.kinds IS NULL OR webhook.kinds @> to_jsonb('thread.switched'::text))
            AND (webhook.agents IS NULL OR webhook.agents @> to_jsonb(chosen.agent))
        RETURNING webhook_id
    )
    -- In the snapshot before: those that were there.
    SELECT coalesce(bool_or(NOT EXISTS (
        SELECT FROM webhook_deliveries AS earlier
        WHERE earlier.webhook_id = told.webhook_id AND earlier.state = 'pending' AND earlier.claimed_until IS NULL
            AND earlier.next_try_at <= clock_timestamp()
    )), false) INTO nobody_sends FROM told;
    IF nobody_sends THEN
        -- Else who takes those looks again behind them: transactions that notify commit one after the other.
        PERFORM pg_notify('threadmill_webhooks', '');
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION threadmill.record_switch_v1 FROM PUBLIC;
CREATE TRIGGER webhooks_record_switch AFTER UPDATE OF chosen_key ON threads
FOR EACH ROW WHEN (OLD.chosen_key IS DISTINCT FROM NEW.chosen_key AND NEW.deleted_at IS NULL)
EXECUTE FUNCTION threadmill.record_switch_v1();
