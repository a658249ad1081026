"""The real Kafka and Cassandra of a developer's machine, as plain JVM processes."""
