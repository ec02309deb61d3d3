CREATE FUNCTION ${schema}.total(bigint) RETURNS numeric LANGUAGE plpgsql STABLE AS $body$
DECLARE
    amount numeric;
BEGIN
    SELECT sum(price * quantity) INTO amount FROM ${schema}.orders WHERE customer_id = $1;
    RETURN coalesce(amount, 0);
END;
$body$;
