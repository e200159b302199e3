"""Pure functions and values: what the view is. Nothing here knows AWS, Kafka or a dialect of the events."""
