DROP INDEX orders_price;
