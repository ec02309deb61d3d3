DROP TABLE ${schema}.orders;
DELETE FROM ${schema}.customers;
