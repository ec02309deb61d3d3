-- +goose Up
CREATE TABLE orders (id serial PRIMARY KEY, price numeric NOT NULL, quantity int NOT NULL, total numeric);

-- +goose Down
DROP TABLE orders;
