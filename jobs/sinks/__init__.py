"""Adapters out: the tables of Cassandra, the event log and its upkeep, the table of totals, and the offsets behind a
streaming job. A sink writes what it is given, so that writing it again changes nothing; it knows neither frames nor
sources."""
