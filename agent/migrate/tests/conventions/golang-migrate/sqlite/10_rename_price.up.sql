ALTER TABLE orders RENAME COLUMN price TO unit_price;
