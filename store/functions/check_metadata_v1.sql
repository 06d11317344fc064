-- Checks metadata as `check_metadata` in `conversation/validation.py` does, so that Python can read what is stored.
CREATE FUNCTION threadmill.check_metadata_v1(field text, value jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- A caller's session may read backslashes in another way.
SET standard_conforming_strings = on
AS $$
DECLARE
    words text := value::text;
    -- As Python writes it, in ASCII: \uXXXX for a character, two of them for one beyond the basic plane.
    bytes integer := char_length(words)
        + 5 * char_length(regexp_replace(words, '[\u0001-\u007f]+', '', 'g'))
        + 6 * char_length(regexp_replace(words, '[\u0001-\uffff]+', '', 'g'));
BEGIN
    IF jsonb_typeof(value) <> 'object' THEN
        PERFORM threadmill.refuse_v1(field, 'is no JSON object', 'pass an object with string keys');
    ELSIF jsonb_path_exists(value, 'strict $.**{51 to last}') THEN
        PERFORM threadmill.refuse_v1(field, 'is nested too deep', 'at most 50 levels fit');
    ELSIF jsonb_path_exists(value, 'strict $.** ? (@.type() == "number") ? (@.abs() > 1.7976931348623157e308)') THEN
        PERFORM threadmill.refuse_v1(field, 'holds a number that is NaN, infinite or too large', 'pass it as text');
    ELSIF bytes > 65536 THEN
        PERFORM threadmill.refuse_v1(field, format('has %s bytes of JSON', bytes), 'at most 65536 fit');
    END IF;
END
$$;
