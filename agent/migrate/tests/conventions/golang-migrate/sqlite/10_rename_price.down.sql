ALTER TABLE orders RENAME COLUMN unit_price TO price;
