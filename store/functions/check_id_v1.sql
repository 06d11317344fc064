-- Checks a name that a caller chose, as `check_id` in `conversation/validation.py` does.
CREATE FUNCTION threadmill.check_id_v1(field text, value text) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- A caller's session may read backslashes in another way.
SET standard_conforming_strings = on
AS $$
BEGIN
    IF value IS NULL OR value = '' THEN
        PERFORM threadmill.refuse_v1(field, 'is empty', 'pass 1 to 255 characters');
    ELSIF char_length(value) > 255 THEN
        PERFORM threadmill.refuse_v1(field, format('has %s characters', char_length(value)), 'at most 255 fit');
    ELSIF value IN ('.', '..') THEN
        PERFORM threadmill.refuse_v1(field, format('is ''%s''', value), 'a URL path cannot name it: use letters or digits too');
    -- All white space of Unicode: what \s stands for depends on the database's locale.
    ELSIF value ~ '[\u0001-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000/\\]' THEN
        PERFORM threadmill.refuse_v1(
            field,
            'holds white space, a slash, or a control character',
            'use letters, digits and . _ - : @ and the like'
        );
    END IF;
END
$$;
