CREATE TABLE customers (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email varchar(200) NOT NULL UNIQUE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

/*!40101 SET NAMES utf8mb4 */;
INSERT INTO customers (email) VALUES ('a;b@example.com'), ('it''s@example.com'), ("c@example.com"); # three
