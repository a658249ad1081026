"""Stitch counts events and serves the counts live and exact.

The modules at this level are the pure core that jobs and reader share; `stitch.local` runs the real Kafka and
Cassandra of a developer's machine, and `stitch.cli` is the console script.
"""
