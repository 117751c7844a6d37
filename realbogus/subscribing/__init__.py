"""The other end: events as subscribers get them, over the VOEvent Transport Protocol or from a Kafka topic."""
