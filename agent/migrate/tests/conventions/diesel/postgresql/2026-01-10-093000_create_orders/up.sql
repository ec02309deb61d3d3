CREATE TABLE orders (id serial PRIMARY KEY, price numeric NOT NULL, updated_at timestamptz NOT NULL DEFAULT now());
SELECT manage_updated_at('orders');
INSERT INTO orders (price) VALUES (1), (2), (3);
