"""DataFrame → DataFrame: no I/O, each ending in the select that is its contract."""
