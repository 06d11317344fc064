-- Writes a delivery for each webhook that is told of a turn's end, or of its wait for a person: in the transaction that
-- brings it about, whoever that is. A tenant without webhooks pays for one look into the index of these.
--
-- What stays true: as `store/tables/webhooks.py` has it for SQLite. With its owner's rights: a worker need not read
-- webhooks, nor write to others' deliveries; the tenant is that of the turn.
CREATE FUNCTION threadmill.record_turn_event_v1() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
-- A plan is made on a table that may be empty then, and kept.
SET enable_seqscan = off
AS $$
DECLARE
    nobody_sends boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM webhooks WHERE tenant = NEW.tenant) THEN
        RETURN NULL;
    END IF;
    WITH told AS (
        INSERT INTO webhook_deliveries (
            id, tenant, webhook_id, thread_key, turn_id, kind, created_at, details, state, next_try_at
        )
        SELECT
            threadmill.new_id_v1(), NEW.tenant, webhook.id, NEW.thread_key, NEW.id, 'turn.' || NEW.state,
            coalesce(NEW.finished_at, clock_timestamp()),
            jsonb_build_object('agent', NEW.agent, 'error_kind', NEW.error_kind),
            'pending', coalesce(NEW.finished_at, clock_timestamp())
        FROM webhooks AS webhook
        WHERE webhook.tenant = NEW.tenant AND webhook.state = 'enabled'
            AND (webhook.kinds IS NULL OR webhook.kinds @> to_jsonb('turn.' || NEW.state))
            AND (webhook.agents IS NULL OR webhook.agents @> to_jsonb(NEW.agent))
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
REVOKE ALL ON FUNCTION threadmill.record_turn_event_v1 FROM PUBLIC;
CREATE TRIGGER webhooks_record_turn_event AFTER UPDATE OF state ON turns
FOR EACH ROW WHEN (
    NEW.state IN ('completed', 'failed', 'cancelled', 'waiting') AND OLD.state IS DISTINCT FROM NEW.state
)
EXECUTE FUNCTION threadmill.record_turn_event_v1();
