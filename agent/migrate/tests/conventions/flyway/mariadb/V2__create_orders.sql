CREATE TABLE orders (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    customer_id bigint NOT NULL,
    price decimal(10, 2) NOT NULL,
    quantity int NOT NULL,
    CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id)
);
INSERT INTO orders (customer_id, price, quantity) SELECT id, 2.5, id FROM customers;
ALTER TABLE orders ADD COLUMN total decimal(12, 2);
UPDATE orders SET total = price * quantity;
