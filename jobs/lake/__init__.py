"""The tables of Apache Iceberg that are not one adapter's alone: the event log, with what is noted in it (log), and the
rules that say which events are not to be counted (exclusions)."""
