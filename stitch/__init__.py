"""Stitch counts events and serves the counts live and exact.

The modules at this level are the pure core that jobs and reader share, and `stitch.cli`, the console script.
`stitch_local` runs the real Kafka and Cassandra of one machine.
"""

__version__ = "0.2.0"  # the one place: pyproject.toml reads it
