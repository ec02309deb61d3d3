-- migrate:up
ALTER TABLE orders ADD COLUMN total numeric;
UPDATE orders SET total = price * quantity;

-- migrate:down
ALTER TABLE orders DROP COLUMN total;
