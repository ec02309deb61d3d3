CREATE TABLE ${schema}.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES ${schema}.customers (id),
    price numeric NOT NULL,
    quantity int NOT NULL CHECK (quantity > 0)
);
INSERT INTO ${schema}.customers (email) SELECT 'c' || n || '@example.com' FROM generate_series(1, 10) n;
INSERT INTO ${schema}.orders (customer_id, price, quantity)
SELECT c.id, 2.5, 1 + c.id % 3 FROM ${schema}.customers c;
