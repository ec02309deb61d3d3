-- migrate:up
CREATE TABLE orders (
    id serial PRIMARY KEY,
    price numeric NOT NULL,
    quantity int NOT NULL
);
INSERT INTO orders (price, quantity) SELECT 2.5, n FROM generate_series(1, 5) n;

-- migrate:down
DROP TABLE orders;
