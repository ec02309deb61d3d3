CREATE TRIGGER orders_total_fill AFTER INSERT ON orders
BEGIN
    UPDATE orders SET total = CASE WHEN NEW.quantity > 0 THEN NEW.price * NEW.quantity ELSE 0 END WHERE id = NEW.id;
END;
INSERT INTO orders (price, quantity) VALUES (2.5, 4), (1.0, 0);
