"""History that does not come from the topic into the event log: [[sources]], and logs from before 0.2."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Observation, SparkSession
from pyspark.sql import functions as F

from jobs.archive.rounds import JOB
from jobs.frames.events import decode, not_taken
from jobs.frames.log_rows import RECORD, log_rows, topic_rows
from jobs.lake.figures import note_table
from jobs.lake.log import Log
from jobs.process.causes import cause_of
from jobs.process.errors import BadOption, JobError
from jobs.process.schemes import check_scheme
from jobs.sinks.event_log import TRIES, append, commit, others_first
from jobs.sources.files import Files, Folder
from jobs.sources.iceberg import IcebergTable
from jobs.sources.old_log import segments
from jobs.sources.tables import opened
from jobs.streaming.figures import note_observed, note_through
from jobs.streaming.queries import Stop
from stitch.sections import SourceSettings
from stitch.settings import Settings


class Sources:
    """The sources of the settings. One that cannot be read holds nothing else up. Raises BadOption for a scheme that
    Hadoop does not know."""

    def __init__(self, spark: SparkSession, log: Log, settings: Settings) -> None:
        for source in settings.sources:
            if source.path:
                check_scheme(spark, f"sources.{source.name}.path", source.path)
        self._spark, self._log, self._settings = spark, log, settings
        self._opened: dict[str, Files | IcebergTable] = {}
        self._failures: list[str] = []

    def bring(self) -> None:
        """Bring in what is new of each."""
        self._failures = []
        for source in self._settings.sources:
            try:
                note_topic(self._log, self._settings, source)
                bring(self._log, self._settings.of_source(source), source.name, self._open(source))
            except JobError as error:
                self._failures.append(str(error))
            except (PySparkException, Py4JJavaError) as error:
                self._failures.append(f"sources.{source.name}: {cause_of(error)}")
        for failure in self._failures:
            print(f"stitch: {failure}", flush=True)

    def bring_until(self, stop: Stop, again: timedelta | None) -> None:
        """Bring it in, and again after so long (None: once), until asked to stop."""
        stop.listen()
        while not stop.asked:
            began = datetime.now(UTC)
            self.bring()
            if not self._failures:
                note_through(began)
                note_table(self._spark, self._log.name)
            if again is None:
                break
            stop.wait(again.total_seconds())

    def _open(self, source: SourceSettings) -> Files | IcebergTable:
        """The source, which remembers from round to round what it has taken."""
        if source.name not in self._opened:
            given = (self._spark, self._log, source)
            self._opened[source.name] = opened(*given, source.table) if source.table else Folder(*given)
        return self._opened[source.name]

    def raise_last(self) -> None:
        """Raises JobError where the last look at a source failed."""
        if self._failures:
            raise JobError("\n".join(self._failures))


def note_topic(log: Log, settings: Settings, source: SourceSettings) -> None:
    """Note whose events the source has. Raises JobError where others were brought in from it."""
    topic = source.topic or next(iter(settings.by_topic))
    before = log.topics().get(source.name, topic)
    if settings.topics and before != topic:
        raise JobError(
            f"sources.{source.name}: topic: its events in {log.name} are those of {before}, and the settings say "
            f"{topic}: set it back, or give the source another name"
        )
    log.note_topics({source.name: topic})


def bring(log: Log, settings: Settings, name: str, source: Files | IcebergTable) -> None:
    """Bring what is new of the source into the log, all or nothing, each record under a number of its own."""
    for _ in range(TRIES):
        base, held = log.position(name)
        start = held.get(0, 0)
        new = source.new(start)
        if new is None:
            return
        tasks = new.records.rdd.getNumPartitions()
        if not tasks and not new.taken:  # files without a record
            source.took(start)
            return
        read = new.records.coalesce(max(1, tasks))  # or it might be planned in more when it is written
        numbered = read.withColumn("partition", F.lit(0)).withColumn("offset", F.monotonically_increasing_id() + start)
        numbered = numbered.withColumn("key", F.lit(None).cast("binary"))
        seen = Observation("brought")
        decoded = decode(numbered, settings, RECORD).observe(
            seen, F.count(F.lit(1)).alias("records"), *not_taken(settings)
        )
        # The ids of Spark's task n begin at n · 2^33.
        end = start + (tasks << 33)
        rows = log_rows(decoded, settings.decoder, name)
        if commit(log, rows, name, base, {0: start}, {0: end}, "hash", new.taken):
            found = seen.get
            print(f"{JOB} source={name} {new.told} records={found['records']} "
                  f"rejected={found['rejected']}", flush=True)  # fmt: skip
            note_observed(found, found["records"])
            source.took(end)
            return
    raise others_first(log)


def import_log(spark: SparkSession, log: Log, settings: Settings, folder: str) -> None:
    """Bring the log of an earlier release into this one, behind what is there of its topics. Raises BadOption where an
    archive has begun one of them: what is in front of its records could not be added."""
    if settings.topics:
        raise BadOption(
            f"--import-log {folder}: is of a time of one topic: bring it in with kafka.topic, and name [[topics]] then"
        )
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
