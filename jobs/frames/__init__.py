"""DataFrame → DataFrame: no I/O, each ending in the select that is its contract. What counts, and what compares
counts, belongs here, so that it is tested with literal rows."""
