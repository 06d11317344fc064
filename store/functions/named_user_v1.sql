-- The user that a call names: "user", else what its metadata has under `user`: `named_user` in
-- `conversation/user.py` does the same, and says what names nobody.
CREATE FUNCTION threadmill.named_user_v1("user" text, metadata jsonb) RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_variable
DECLARE
    named text;
BEGIN
    IF "user" IS NOT NULL THEN
        PERFORM threadmill.check_id_v1('user', "user");
        RETURN "user";
    END IF;
    named := CASE jsonb_typeof(metadata -> 'user')
        WHEN 'string' THEN nullif(metadata ->> 'user', '')
        WHEN 'number' THEN threadmill.canonical_json_v1(metadata -> 'user')
        WHEN 'boolean' THEN metadata ->> 'user'
    END;
    IF named IS NOT NULL THEN
        PERFORM threadmill.check_id_v1('metadata.user', named);
    END IF;
    RETURN named;
END
$$;
