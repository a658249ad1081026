"""Adapters out: Cassandra and the Parquet files."""
