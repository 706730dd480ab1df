//! The event bus port on Kafka, by librdkafka.
