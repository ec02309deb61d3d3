BEGIN;

CREATE TYPE order_state AS ENUM ('open', 'paid');
CREATE TABLE IF NOT EXISTS orders (
    id bigserial PRIMARY KEY,
    state order_state NOT NULL DEFAULT 'open',
    note text
);

COMMIT;
