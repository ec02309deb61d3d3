//! From one end to the other, through real servers: PostgreSQL, Debezium in Kafka Connect, Kafka, the agent as a process
//! with a plugin, MongoDB and PostgreSQL.

mod author;
mod changes;
mod compare;
mod connectors;
mod dead_letters;
mod demo;
mod from_mongodb;
mod from_mysql;
mod kill;
mod record;
mod registry;
mod reload;
mod stage;
mod watch;
