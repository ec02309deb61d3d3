CREATE VIEW notes AS SELECT id, details ->> 'note' AS note FROM orders WHERE details ? 'note';
