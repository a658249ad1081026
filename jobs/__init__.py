"""The Spark jobs: entry points over sources (in), frames (DataFrame → DataFrame, no I/O) and sinks (out)."""
