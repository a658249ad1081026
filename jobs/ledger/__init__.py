"""Where a run begins and ends: which runs made totals, and how far each came (runs); and who may write at this moment
(lease)."""
