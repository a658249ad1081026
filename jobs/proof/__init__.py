"""What proves that all is there to be counted: that the log, or the increments, hold every record before a cutoff
(completeness), and that the log lacks none between those that it holds (contiguity). The topic itself is asked."""
