DROP TRIGGER orders_total_fill;
DELETE FROM orders;
