"""How Stitch reaches other systems: one module a system, which makes the settings of every client of it.

Used by the jobs, the reader and the local stack alike, so that a secured or replicated cluster is configured once.
"""
