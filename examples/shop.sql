-- A small shop in the source database; see README.md.
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers, total numeric(10, 2) NOT NULL);
INSERT INTO customers VALUES (1, 'Ada', 'ada@example.org'), (2, 'Grace', 'grace@example.org');
INSERT INTO orders VALUES (10, 1, 19.99), (11, 2, 5.00);
