"""The event source mapping that Lambda has for Kafka, on this machine."""
