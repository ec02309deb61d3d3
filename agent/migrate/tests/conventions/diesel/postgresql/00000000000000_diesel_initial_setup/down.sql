DROP FUNCTION manage_updated_at(regclass);
DROP FUNCTION set_updated_at();
