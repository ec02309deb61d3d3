//! MongoDB as a source, through real servers: mongod, Debezium's MongoDB connector, Kafka, the agent, MongoDB and PostgreSQL.

mod changes;
mod compare;
mod partial;
mod stage;
