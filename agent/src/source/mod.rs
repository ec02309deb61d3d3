//! Sources: where records come from. Kafka for now; a source hands out raw records and positions, never looks into them
//! and never commits anything before the pipeline says it is durable.

pub mod kafka;
