"""Adapters in: the topic, a streaming job's checkpoint, the event log and history of other origin, files of rules, and
what Cassandra holds. A source reads, and checks what it reads; it knows neither frames nor sinks."""
