DELETE FROM orders WHERE price = 1.5;
DROP TRIGGER orders_total;
