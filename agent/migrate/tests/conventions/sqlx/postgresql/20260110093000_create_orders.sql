CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    details jsonb NOT NULL DEFAULT '{}'::jsonb
);
INSERT INTO orders (details) VALUES ('{"note": "a; b"}'), (E'{"quote": "it\'s"}');
