-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY orders_price ON orders (price);

-- migrate:down transaction:false
DROP INDEX CONCURRENTLY orders_price;
