-- no-transaction
CREATE INDEX CONCURRENTLY orders_details ON orders USING gin (details);
