-- Checks a name that a caller chose, as `check_id` in `conversation/validation.py` does.
CREATE FUNCTION threadmill.check_id_v1(field text, value text) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
-- A caller's session may read backslashes in another way.
SET standard_conforming_strings = on
AS $$
DECLARE
    -- As in `conversation/invisible.py`: what does not show, or turns the text around it.
    hidden CONSTANT text := substring(value FROM '[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u061c\U00013430-\U00013440\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]');
    code CONSTANT text := upper(to_hex(ascii(hidden)));
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
    ELSIF hidden IS NOT NULL THEN
        PERFORM threadmill.refuse_v1(
            field,
            format('holds U+%s, which is invisible or turns text around', lpad(code, greatest(4, length(code)), '0')),
            'remove it'
        );
    ELSIF value IS NOT NFC NORMALIZED THEN
        PERFORM threadmill.refuse_v1(
            field, 'is not in Unicode''s composed form', 'pass it as normalize(…, NFC) makes it'
        );
    END IF;
END
$$;
