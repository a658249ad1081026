"""What a person types: one module a command, or a group of them, and stitch.cli lists them.

Each is a few lines that ask and print; the work is elsewhere. A command imports what it needs by itself: the drivers of
Kafka and Cassandra are not loaded to print a help. Errors become messages and exit statuses in stitch.exits.
"""
