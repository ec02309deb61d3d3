//! MariaDB and MySQL as sources, through real servers: MariaDB, Debezium's connectors, Kafka, the agent, MongoDB and PostgreSQL.

mod changes;
mod compare;
mod stage;
