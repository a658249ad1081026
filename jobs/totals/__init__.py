"""A run that makes totals, a module for each step: definitions (which of each counter are counted, also live),
planning, counting, comparing, leaving (counters that are not published) and loading, with the work that one step hands
to the next. A whole run is publishing; restoring loads totals that are kept. What batch_totals and rollup_increments
share belongs here, and what counts the log for them, for repairs and for the audit."""
