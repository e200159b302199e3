"""Kafka as operators use it: topics, consumer groups and records, with what the brokers refuse."""
