"""What the process of a job needs, whatever the job does: a Spark session, and which schemes of paths it knows; options
of the command line; errors with names and causes; figures for Prometheus; an end when what it runs under has gone. It
imports nothing else of the jobs."""
