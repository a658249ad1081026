"""The jars that Kafka, Cassandra, Spark and the pages run with: which (jars.lock), from where, in which folder."""
