CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL NOT NULL, quantity INTEGER NOT NULL, total REAL);
CREATE INDEX orders_total ON orders (total);
