CREATE INDEX CONCURRENTLY orders_price ON orders (price);
