-- Refuses a value in the words of `InvalidInput`: the field, what is wrong with it, and how to mend it.
CREATE FUNCTION threadmill.refuse_v1(field text, problem text, fix text) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION '%: %; %', field, problem, fix USING ERRCODE = 'invalid_parameter_value';
END
$$;
