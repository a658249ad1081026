"""The reader: counts merged from both layers, over HTTP. It knows Cassandra and Flask, never Spark."""
