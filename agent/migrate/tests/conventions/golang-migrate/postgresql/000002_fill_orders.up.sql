INSERT INTO orders (state, note)
SELECT CASE WHEN n % 2 = 0 THEN 'paid'::order_state ELSE 'open' END, 'semicolons; in; text'
FROM generate_series(1, 20) n;
