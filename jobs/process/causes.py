"""What a failure of Spark, Kafka or Cassandra comes down to, and whether trying again can help.

A failure reaches Python wrapped: in Py4J's errors, in Spark's ("Job aborted …"), inside foreachBatch as a Python trace
around Java's, and the connector keeps of the server's error the message alone. So the innermost cause is looked for
among the exceptions, then in the traces that they carry, by the classes named there; and the few messages of servers
that come without a class are known by their words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MOST_CHARACTERS = 500  # of what is told of a cause

# Classes (the last part of their names) after which trying again ends the same way: a statement, a table, a right, a
# certificate or a plan is wrong, or data is gone.
FOR_GOOD = {
    # Cassandra's driver of the JVM, and of Python
    "InvalidQueryException", "InvalidQueryError", "SyntaxError", "SyntaxException", "UnauthorizedException",
    "Unauthorized", "AuthenticationException", "AuthenticationFailed", "InvalidConfigurationInQueryException",
    "ConfigurationException", "InvalidRequest", "InvalidKeyspaceException", "FunctionFailureException",
    "CodecNotFoundException", "AlreadyExists", "UnsupportedProtocolVersionException", "NullKeyColumnException",
    "TypeConversionException",
    # Kafka
    "UnknownTopicOrPartitionException", "TopicAuthorizationException", "GroupAuthorizationException",
    "InvalidTopicException", "ClusterAuthorizationException", "SaslAuthenticationException",
    "SslAuthenticationException", "UnsupportedSaslMechanismException", "UnsupportedVersionException",
    "OffsetOutOfRangeException", "RecordTooLargeException",
    # TLS
    "SSLPeerUnverifiedException", "CertificateException", "CertPathValidatorException", "ValidatorException",
    "SunCertPathBuilderException", "SSLCertVerificationError",
    # Spark, and the JVM
    "AnalysisException", "ParseException", "NoSuchTableException", "ClassNotFoundException", "NoClassDefFoundError",
    "NoSuchMethodError", "UnsupportedOperationException", "SchemaColumnConvertNotSupportedException",
    "ArithmeticException",
}  # fmt: skip
# What servers and Spark say where no class comes with it.
FOR_GOOD_SAID = (
    "Batch too large", "may have been lost", "offset was changed", "some data may have been missed", "Couldn't find",
    "unconfigured table", "Undefined column", "Unknown identifier", "has no MODIFY permission",
    "has no SELECT permission", "You have not logged in", "Provided username",
    "unable to find valid certification path", "UNKNOWN_TOPIC_OR_PART", "Key may not be empty", "Key length of",
    "TOPIC_AUTHORIZATION_FAILED", "is longer than maximum of", "Received fatal alert",
)  # fmt: skip
# Servers that are away, overloaded or slow, as the drivers of Python and of the JVM call it.
PASSING = (
    "NoHostAvailable", "OperationTimedOut", "ReadTimeout", "WriteTimeout", "Unavailable", "AllNodesFailedException",
    "DriverTimeoutException", "BusyPoolException", "NoNodeAvailableException", "_TRANSPORT", "_TIMED_OUT",
    "_ALL_BROKERS_DOWN", "org.apache.kafka.common.errors.TimeoutException", "Cassandra timeout during",
    "Not enough replicas",
)  # fmt: skip
# Iceberg's, for any storage: a file of the snapshot that is read is not there.
GONE = "org.apache.iceberg.exceptions.NotFoundException"
# What a cause means where its own words do not say it.
MEANING = {
    "ArithmeticException: long overflow": (
        "a record's producer stamped it beyond the year 294247 (nanoseconds in place of milliseconds?), and Spark "
        "cannot read it; docs/reliability.md says how to go on behind it"
    ),
}
GONE_MEANING = (
    "erase_key or maintain_log removed the snapshot that was being read; a file that the next run misses too is lost"
)
_HEAD = re.compile(
    r"^(?:Caused by: |: |[\w.]*Py4JJavaError: )*(?P<name>(?:[A-Za-z_$][\w$]*\.)+[\w$]*[A-Z][\w$]*)(?:: (?P<said>.*))?$"
)
_PYTHON = re.compile(
    r"^(?P<name>(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Failed|Unavailable|Timeout|Full|Request|Down))"
    r"(?:: (?P<said>.*))?$"
)
# What only says that something inside it failed.
_WRAPPERS = {
    "SparkException", "Py4JJavaError", "StreamingQueryException", "ExecutionException", "RuntimeException", "Exception",
    "CompletionException", "UndeclaredThrowableException", "InvocationTargetException", "Py4JException", "JobError",
    "QueryFailed", "SparkRuntimeException", "PySparkException", "UnknownException", "SparkUpgradeException",
    "PythonException",
}  # fmt: skip
_CONNECTOR = re.compile(
    r"Failed to write statements to (?P<table>\S+?)[.]? The\s+latest exception was\s+(?P<said>[^\n]+)"
)


def cause_of(error: BaseException) -> str:
    """What happened, in a line: the innermost cause, by its class and message."""
    name, said = _innermost(error)
    told = f"{name}: {said}"[:MOST_CHARACTERS] if said else name
    meaning = GONE_MEANING if is_gone(error) else MEANING.get(told)
    return f"{told} ({meaning})" if meaning else told


def is_permanent(error: BaseException) -> bool:
    """Whether trying again would end the same way."""
    texts = list(_texts(error))
    names = {type(each).__name__ for each in _chain(error)} | {name for text in texts for name, _ in _named(text)}
    return bool(names & FOR_GOOD) or any(sign in text for text in texts for sign in FOR_GOOD_SAID)


def may_pass(error: BaseException) -> bool:
    """Whether the same command later may be enough: a server was away, or a snapshot went while it was read, and
    nothing is wrong with what was asked."""
    return not is_permanent(error) and any(sign in text for text in _texts(error) for sign in (*PASSING, GONE))


def is_gone(error: BaseException) -> bool:
    """Whether a file of a table was removed while it was read: of a snapshot that another job let go."""
    return any(GONE in text for text in _texts(error))


def _innermost(error: BaseException) -> tuple[str, str]:
    """The class and the message of the cause. Of several, the last that is no wrapper, as traces are printed."""
    texts = list(_texts(error))
    for text in texts:
        if found := _CONNECTOR.search(text):
            return f"Cassandra, table {found['table']}", found["said"].strip()
    named = [pair for text in texts for pair in _named(text)]
    telling = [pair for pair in named if pair[0] not in _WRAPPERS] or [pair for pair in named if pair[1]]
    if telling:
        return telling[-1]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return type(error).__name__, lines[0] if lines else ""


def _named(text: str) -> Iterator[tuple[str, str]]:
    """(class, message) of each exception that a trace names, the innermost last."""
    for line in text.splitlines():
        found = _HEAD.match(line.strip()) or _PYTHON.match(line.strip())
        if found:
            yield found["name"].rpartition(".")[2].rpartition("$")[2], (found["said"] or "").strip()


def _texts(error: BaseException) -> Iterator[str]:
    """What is said of the failure: by each exception of the chain, with the traces of Java that it carries."""
    for each in _chain(error):
        lines = str(each).splitlines() or [""]
        yield f"{type(each).__module__}.{type(each).__qualname__}: {lines[0]}"
        yield str(each)
        yield from _java(getattr(each, "java_exception", None))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        yield at
        at = at.__cause__ or at.__context__


def _java(exception: Any) -> Iterator[str]:
    """Each of a Java exception's causes, as `class: message`."""
    for _ in range(20):
        if exception is None:
            return
        try:
            yield str(exception.toString())
            exception = exception.getCause()
        except Exception:  # the JVM is gone
            return
