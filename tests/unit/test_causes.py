"""What a failure comes down to: literal traces, as Spark, the connector and the drivers print them."""

from __future__ import annotations

import pytest
from cassandra import Unauthorized, WriteTimeout
from cassandra.cluster import NoHostAvailable

from jobs.process.causes import cause_of, is_gone, is_permanent, may_pass

AT = (
    "\tat com.datastax.spark.connector.writer.AsyncStatementWriter.close(TableWriter.scala:314)\n"
    "\tat java.lang.Thread.run(Thread.java:840)\n"
)
WRITE = (
    "Failed to write statements to batch.keys. The\nlatest exception was\n  {said}\n\n"
    "Please check the executor logs for more exceptions and information\n"
)
ABORTED = (
    "org.apache.spark.SparkException: Job aborted due to stage failure: "
    "Task 0 in stage 3.0 failed 4 times, most recent failure: "
)


def in_a_batch(said: str) -> str:
    """A write of the connector that failed, as Py4J tells it."""
    written = WRITE.format(said=said)
    return (
        f"An error occurred while calling o99.save.\n: {ABORTED}"
        "Lost task 0.3 in stage 3.0 (TID 9) (127.0.0.1 executor driver): "
        f"java.io.IOException: {written}{AT}\nDriver stacktrace:\n{AT}Caused by: java.io.IOException: {written}{AT}"
    )


def in_foreach_batch(trace: str) -> str:
    """The same inside foreachBatch, as a streaming query tells it."""
    return (
        "[STREAM_FAILED] Query [id = 1, runId = 2] terminated with exception: An exception was raised by the Python "
        "Proxy. Return Message: Traceback (most recent call last):\n"
        '  File "jobs/streaming_counts.py", line 51, in write_increments\n'
        f"py4j.protocol.Py4JJavaError: {trace}\n\nJVM stacktrace:\n"
        f"org.apache.spark.sql.streaming.StreamingQueryException: [STREAM_FAILED] Query terminated\n{AT}"
        "Caused by: py4j.Py4JException: An exception was raised by the Python Proxy. "
        f"Return Message: Traceback (most recent call last):\npy4j.protocol.Py4JJavaError: {trace}\n{AT}"
    )


def java(*causes: str) -> str:
    return f"\n{AT}Caused by: ".join(causes) + f"\n{AT}"


DRIVER = "com.datastax.oss.driver.api.core."
FAILURES = {  # a trace, what it comes down to, and whether it is permanent
    "a batch too large": (in_a_batch("Batch too large"), "Cassandra, table batch.keys: Batch too large", True),
    "the same, in a streaming job": (
        in_foreach_batch(in_a_batch("Batch too large")), "Cassandra, table batch.keys: Batch too large", True),
    "a write that timed out": (
        in_a_batch("Cassandra timeout during UNLOGGED_BATCH write query at consistency LOCAL_QUORUM "
                   "(1 replica were required but only 0 acknowledged the write)"),
        "Cassandra, table batch.keys: Cassandra timeout during UNLOGGED_BATCH write query", False),
    "no replica": (
        in_a_batch("Not enough replicas available for query at consistency LOCAL_QUORUM (1 required but only 0 alive)"),
        "Cassandra, table batch.keys: Not enough replicas available", False),
    "a right that is missing": (
        in_a_batch("User counts has no MODIFY permission on <table batch.keys> or any of its parents"),
        "Cassandra, table batch.keys: User counts has no MODIFY permission", True),
    "a wrong password": (
        java("java.io.IOException: Failed to open native connection to Cassandra at {127.0.0.1:9042} :: "
             "Authentication error",
             f"{DRIVER}AllNodesFailedException: Could not reach any contact point",
             f"{DRIVER}auth.AuthenticationException: Authentication error on node /127.0.0.1:9042: "
             "Provided username counts and/or password are incorrect"),
        "AuthenticationException: Authentication error on node", True),
    "nobody listens": (
        java("java.io.IOException: Failed to open native connection to Cassandra at {127.0.0.1:9042}",
             f"{DRIVER}AllNodesFailedException: Could not reach any contact point",
             f"{DRIVER}connection.ConnectionInitException: [s0|control|connecting...] Protocol initialization request",
             "io.netty.channel.AbstractChannel$AnnotatedConnectException: Connection refused: /127.0.0.1:9042",
             "java.net.ConnectException: Connection refused"),
        "ConnectException: Connection refused", False),
    "an authority that nobody knows": (
        java("org.apache.kafka.common.errors.SslAuthenticationException: SSL handshake failed",
             "javax.net.ssl.SSLHandshakeException: PKIX path building failed",
             "sun.security.provider.certpath.SunCertPathBuilderException: "
             "unable to find valid certification path to requested target"),
        "SunCertPathBuilderException: unable to find valid certification path", True),
    "a server that restarts in the middle of a handshake": (
        java("org.apache.spark.SparkException: Job aborted",
             "javax.net.ssl.SSLHandshakeException: Remote host terminated the handshake",
             "java.io.EOFException: SSL peer shut down incorrectly"),
        "EOFException: SSL peer shut down incorrectly", False),
    "a topic that is gone": (
        java("java.util.concurrent.ExecutionException: "
             "org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server",
             "org.apache.kafka.common.errors.UnknownTopicOrPartitionException: "
             "This server does not host this topic-partition."),
        "UnknownTopicOrPartitionException: This server does not host", True),
    "a broker that does not answer": (
        java("org.apache.kafka.common.errors.TimeoutException: "
             "Timed out waiting for a node assignment. Call: describeTopics"),
        "TimeoutException: Timed out waiting for a node assignment", False),
    "records that the broker removed": (
        java("java.lang.IllegalStateException: Cannot fetch offset 12 (GroupId: g). "
             "Some data may have been lost because they are not available in Kafka any more"),
        "IllegalStateException: Cannot fetch offset 12", True),
    "a column that is not there": (
        java("org.apache.spark.sql.AnalysisException: [UNRESOLVED_COLUMN.WITH_SUGGESTION] A column cannot be resolved"),
        "AnalysisException: [UNRESOLVED_COLUMN", True),
    "a disk that is full": (
        java(f"{ABORTED}Lost task 0.0", "java.io.IOException: No space left on device"),
        "IOException: No space left on device", False),
    "a record stamped in nanoseconds by its producer": (
        java(f"{ABORTED}Lost task 0.0", "java.lang.ArithmeticException: long overflow"),
        "ArithmeticException: long overflow (a record's producer stamped it beyond the year 294247", True),
}  # fmt: skip


@pytest.mark.parametrize(("trace", "cause", "permanent"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_comes_down_to_its_innermost_cause_and_is_permanent_or_not(
    trace: str, cause: str, permanent: bool
) -> None:
    error = Exception(trace)
    assert (cause_of(error)[: len(cause)], is_permanent(error)) == (cause, permanent)
    assert "\n" not in cause_of(error) and len(cause_of(error)) <= 500


def test_errors_of_pythons_driver_are_told_as_they_are() -> None:
    away = NoHostAvailable(
        "Unable to connect to any servers", {"127.0.0.1:9042": ConnectionRefusedError(111, "refused")}
    )
    assert cause_of(away).startswith("NoHostAvailable: ") and not is_permanent(away)
    assert is_permanent(Unauthorized("User counts has no MODIFY permission")) and not is_permanent(
        WriteTimeout("timed out", write_type=0)
    )


def test_a_cause_that_python_chained_is_found() -> None:
    try:
        try:
            raise Unauthorized("no")
        except Unauthorized as inner:
            raise RuntimeError("the load failed") from inner
    except RuntimeError as outer:
        assert is_permanent(outer) and cause_of(outer).startswith("Unauthorized: ")


def test_a_file_of_a_snapshot_that_another_job_let_go_may_be_there_no_more_and_a_later_run_reads_the_next() -> None:
    error = RuntimeError(
        java(
            ABORTED + "Lost task 0.3 in stage 3.0 (TID 11)",
            "org.apache.iceberg.exceptions.NotFoundException: Failed to open input stream for file: /lake/a.parquet",
            "java.io.FileNotFoundException: File /lake/a.parquet does not exist",
        )
    )
    assert is_gone(error) and may_pass(error) and not is_permanent(error)
    assert cause_of(error).startswith("FileNotFoundException: File /lake/a.parquet does not exist (erase_key or ")
    assert not is_gone(FileNotFoundError("/lake/a.parquet")) and not may_pass(FileNotFoundError("/lake/a.parquet"))
