DELIMITER //
CREATE TRIGGER orders_total BEFORE INSERT ON orders FOR EACH ROW
BEGIN
    IF NEW.total IS NULL THEN
        SET NEW.total = NEW.price * NEW.quantity;
    END IF;
END//
DELIMITER ;

INSERT INTO orders (customer_id, price, quantity) SELECT min(id), 1.5, 4 FROM customers;
