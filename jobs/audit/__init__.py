"""What the audit looks at, each look a finding: topic and log, the log's records, what is published. It counts and
proves by the functions that the jobs count and prove by. Only audit_counts asks it."""
