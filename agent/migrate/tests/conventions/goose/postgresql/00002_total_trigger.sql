-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION set_total() RETURNS trigger AS '
BEGIN
    NEW.total := NEW.price * NEW.quantity;
    RETURN NEW;
END;
' LANGUAGE plpgsql;
-- +goose StatementEnd
CREATE TRIGGER orders_total BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION set_total();
INSERT INTO orders (price, quantity) VALUES (2.5, 4), (1.5, 2);

-- +goose Down
DELETE FROM orders;
DROP TRIGGER orders_total ON orders;
-- +goose StatementBegin
DROP FUNCTION set_total();
-- +goose StatementEnd
