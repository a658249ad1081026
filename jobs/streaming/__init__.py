"""A streaming query, whatever it does with its records: whether it may go on from its checkpoint (continuity), and how
it is watched, stopped between two micro-batches and started again (queries)."""
