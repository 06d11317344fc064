-- The text of a JSON value, in one form for equal values: what `conversation/canonical_json.py` makes of it.
--
-- Keys are in the order of their code points, without white space. A number is read as Python reads it, and
-- written without an exponent and without zeros behind its last digit.
CREATE FUNCTION threadmill.canonical_json_v1(value jsonb) RETURNS text
LANGUAGE plpgsql STABLE STRICT
SET search_path FROM CURRENT
-- A caller's session may write doubles with fewer digits.
SET extra_float_digits = 1
AS $$
BEGIN
    RETURN CASE jsonb_typeof(value)
        WHEN 'object' THEN (
            SELECT '{' || coalesce(string_agg(
                to_json(member.key)::text || ':' || threadmill.canonical_json_v1(member.value), ','
                ORDER BY member.key COLLATE "C"
            ), '') || '}'
            FROM jsonb_each(value) AS member
        )
        WHEN 'array' THEN (
            SELECT '[' || coalesce(string_agg(threadmill.canonical_json_v1(item.value), ',' ORDER BY item.ordinality), '') || ']'
            FROM jsonb_array_elements(value) WITH ORDINALITY AS item
        )
        WHEN 'number' THEN (
            SELECT trim_scale(CASE
                WHEN number = trunc(number) THEN number
                -- Less than a double can be.
                WHEN abs(number) < 1e-323 THEN 0
                -- Of a fraction, Python keeps the digits of a double.
                ELSE number::float8::text::numeric
            END)::text
            FROM (SELECT (value #>> '{}')::numeric) AS numbers (number)
        )
        ELSE value::text
    END;
END
$$;
