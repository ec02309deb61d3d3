//! Telling the world: Prometheus scrape, OTLP push, health and status over HTTP.
//!
//! Reads `stats`, never writes to it; knows no stage. Nothing here shows row values or secrets.
