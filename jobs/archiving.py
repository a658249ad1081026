"""What the archive does at each start: what it reads of the topic and of other sources, as rows of the log."""

from __future__ import annotations

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from jobs.causes import cause_of
from jobs.continuity import check_offsets, recreated
from jobs.errors import BadOption, JobError
from jobs.frames.events import DECODED, decode, observed
from jobs.lake import Log
from jobs.schemes import check_scheme
from jobs.sinks.event_log import TRIES, append, commit, others_first
from jobs.sources.event_log import last_appended
from jobs.sources.files import files_of, new_files, read_files
from jobs.sources.old_log import segments
from jobs.sources.readable import first_stamped
from jobs.sources.topic import edges, topic_id
from stitch.cutoff import removed_offsets
from stitch.sections import SourceSettings
from stitch.settings import Settings

JOB = "archive_events"
RECORD = ["partition", "offset", "file", "timestamp", "timestamp_type", "key", "value"]


def current_topic(spark: SparkSession, log: Log, settings: Settings, accept_data_loss: bool) -> str:
    """The id of the topic, noted in the log with the offsets at which it begins when it is read for the first time."""
    name, topic = f"topic.{settings.kafka.topic}", topic_id(settings.kafka)
    before = log.note(name)
    if before == topic:
        return topic
    if before is not None:
        if not accept_data_loss:
            raise recreated(JOB, settings, "Start once with --accept-data-loss: the log goes on with the new topic")
        _, ends = log.position(before)
        log.note_loss(before, {p: (at, None) for p, at in ends.items()}, last_appended(spark, settings, before), None)
    log.note_reached(topic, {partition: low for partition, (low, _) in edges(settings.kafka).items()})
    log.write_note(name, topic)
    return topic


def check_continuity(
    spark: SparkSession, log: Log, settings: Settings, topic: str, following: dict[int, int], accept: bool
) -> None:
    """Raises JobError where records are gone that the log should hold; notes them where that is accepted."""
    held = edges(settings.kafka)
    check_offsets(JOB, settings, following, held, accept)
    for partition, at in following.items():
        if partition in held and at > (end := held[partition][1]):
            print(f"stitch: partition {partition} of the topic ends at {end}, and the log holds it up to {at}: records "
                  "that get the offsets between are not archived: the log has others there", flush=True)  # fmt: skip
    lost = removed_offsets(following, {partition: low for partition, (low, _) in held.items()})
    for partition, (first, last) in lost.items():
        until = first_stamped(settings.kafka, {partition: last}, "read_committed")[partition].appended
        since = last_appended(spark, settings, topic, partition)
        log.note_loss(topic, {partition: (first, last - 1)}, since, until)
        print(f"stitch: lost: partition {partition}, offsets {first} to {last - 1}, appended after {since} and before "
              f"{until}", flush=True)  # fmt: skip


def bring(spark: SparkSession, log: Log, settings: Settings, source: SourceSettings, known: set[str]) -> None:
    """Bring the files of the source that are new into the log, all or none, each record under a number of its own.

    known: files that need not be read: empty at first, it is asked of the log and completed here
    """
    for _ in range(TRIES):
        base, held = log.position(source.name)
        if not known:
            known |= files_of(log, source)
        files = new_files(spark, source, known)
        if not files:
            return
        start, read = held.get(0, 0), read_files(spark, source, files)
        tasks = read.rdd.getNumPartitions()
        if not tasks:  # files without a record
            known |= set(files)
            return
        read = read.coalesce(tasks)  # or it might be planned in more when it is written
        numbered = read.withColumn("partition", F.lit(0)).withColumn("offset", F.monotonically_increasing_id() + start)
        numbered = numbered.withColumn("key", F.lit(None).cast("binary"))
        seen = Observation("brought")
        decoded = decode(numbered, settings, RECORD).observe(
            seen, F.count(F.lit(1)).alias("records"), F.count("reject_reason").alias("rejected")
        )
        # The ids of Spark's task n begin at n · 2^33.
        end = start + (tasks << 33)
        rows = log_rows(decoded, settings.decoder, source.name)
        if commit(log, rows, source.name, base, {0: start}, {0: end}, "hash"):
            found = seen.get
            print(f"{JOB} source={source.name} files={len(files)} records={found['records']} "
                  f"rejected={found['rejected']}", flush=True)  # fmt: skip
            known |= set(files)
            return
        known.clear()
    raise others_first(log)


class Sources:
    """The sources of the settings, and what is known of their files. One that cannot be read holds nothing else up.
    Raises BadOption for a scheme that Hadoop does not know."""

    def __init__(self, spark: SparkSession, log: Log, settings: Settings) -> None:
        for source in settings.sources:
            check_scheme(spark, f"sources.{source.name}.path", source.path)
        self._spark, self._log, self._settings = spark, log, settings
        self._known: dict[str, set[str]] = {source.name: set() for source in settings.sources}
        self._failures: list[str] = []

    def bring(self) -> None:
        """Bring in what is new of each."""
        self._failures = []
        for source in self._settings.sources:
            try:
                bring(self._spark, self._log, self._settings, source, self._known[source.name])
            except JobError as error:
                self._failures.append(str(error))
            except (PySparkException, Py4JJavaError) as error:
                self._failures.append(f"sources.{source.name}: {cause_of(error)}")
        for failure in self._failures:
            print(f"stitch: {failure}", flush=True)

    def raise_last(self) -> None:
        """Raises JobError where the last look at a source failed."""
        if self._failures:
            raise JobError("\n".join(self._failures))


def import_log(spark: SparkSession, log: Log, settings: Settings, folder: str) -> None:
    """Bring the log of an earlier release into this one, behind what is there of its topics. Raises BadOption where an
    archive has begun one of them: what is in front of its records could not be added."""
    extent = (F.min("offset"), F.max("offset"), F.count(F.lit(1)))
    found = [(topic, records, records.groupBy("partition").agg(*extent).collect())
             for topic, records in segments(spark, folder)]  # fmt: skip
    for topic, _, bounds in found:  # all are looked at before the first is added
        _, held = log.position(topic)
        late = sorted(partition for partition, first, *_ in bounds if held.get(partition, first) > first)
        if late and not all(held.get(partition, 0) > last for partition, _, last, _ in bounds):
            raise BadOption(
                f"--import-log {folder}: {log.name} already holds later records of topic {topic}, partitions {late}: "
                f"import before archive_events runs for the first time (DROP TABLE {log.name} begins anew)"
            )
    for topic, records, bounds in found:
        append(log, topic_rows(records, settings, topic), topic, {row[0]: row[2] + 1 for row in bounds})
        print(f"{JOB} imported records={sum(row[3] for row in bounds)} of topic {topic} from {folder}", flush=True)


def topic_rows(records: DataFrame, settings: Settings, topic_id: str) -> DataFrame:
    """Records of the topic → the log's columns, with the observation of frames.events.observed."""
    decoded = decode(records.withColumn("file", F.lit(None).cast("string")), settings, RECORD)
    return log_rows(observed(decoded), settings.decoder, topic_id)


def log_rows(decoded: DataFrame, decoder: str, topic: str) -> DataFrame:
    """Decoded records → the log's columns (stitch.lake).

    The payload is the truth; what it was decoded into stands beside it, under the decoder's name, to spare the batch
    from parsing it again while the decoder is the same.
    """
    return decoded.select(
        F.lit(topic).alias("topic_id"),
        *DECODED,
        "timestamp_type",
        "key",
        "value",
        "file",
        F.lit(decoder).alias("decoder"),
        F.when(F.col("reject_reason").isNull(), "accepted").otherwise("rejected").alias("verdict"),
    )
