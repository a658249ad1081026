"""How records come into the event log: those of the topic in rounds, each from where the log ends to the end of the
topic; and by importing, history of other origin ([[sources]], logs from before 0.2). What decides where a round begins
and what is brought in belongs here; sources read the records, and sinks append them."""
