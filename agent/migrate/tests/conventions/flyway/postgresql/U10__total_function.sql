DROP FUNCTION ${schema}.total(bigint);
