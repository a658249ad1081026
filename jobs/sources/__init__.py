"""Adapters in: the topic, the event log, what was published."""
