CREATE OR REPLACE VIEW ${schema}.totals AS
SELECT c.email, ${schema}.total(c.id) AS total FROM ${schema}.customers c;
