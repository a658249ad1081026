"""The real Kafka and Cassandra of one machine, as plain JVM processes, and the data sets that try Stitch out.

Nothing else imports it but the command line: the core, the jobs and the reader work without (held by import contracts).
"""
