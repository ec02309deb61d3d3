CREATE INDEX CONCURRENTLY orders_customer ON ${schema}.orders (customer_id);
