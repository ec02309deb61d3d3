DROP INDEX ${schema}.orders_customer;
