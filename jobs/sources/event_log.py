"""The event log read back as records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake.log import SEVERAL, Log, fields_of
from jobs.process.errors import JobError
from stitch.decoding import TOPIC
from stitch.lake import field_types
from stitch.settings import Settings


def read_log(
    spark: SparkSession,
    settings: Settings,
    since: datetime | None,
    until: datetime | None,
    of_topic: bool = False,
    late: Column | None = None,
) -> DataFrame:
    """Records with `since` ≤ timestamp < `until`.

    of_topic: only Kafka's, not those of [[sources]]; late: those that are wanted also from before `since`
    """
    within = F.lit(True)
    if until:
        within &= F.col("timestamp") < F.lit(until)
    if since:
        soon = F.col("timestamp") >= F.lit(since)
        within &= soon if late is None else soon | late
    if of_topic:
        within &= F.col("file").isNull()
    return log_records(spark, settings).where(within)


def log_records(spark: SparkSession, settings: Settings) -> DataFrame:
    """All records of the log; where the settings have several topics, with the column TOPIC. Raises JobError where
    there is no log, or records of which it is not known whose they are."""
    log = Log(spark, settings)
    records = log.rows()
    if not settings.topics:
        held = {log.topics().get(of, settings.kafka.topic) for of in log.topic_ids()} if log.note(SEVERAL) else set()
        if others := sorted(held - {settings.kafka.topic}):
            raise JobError(
                f"the event log {log.name} has records of several topics, {', '.join(others)} beside "
                f"{settings.kafka.topic}, which all would be read as of that one: name each in [[topics]], with "
                "read = false where it is not to be read any more"
            )
        return records
    names = topics_of(log, settings)
    return records.withColumn(TOPIC, _by_topic(F.col("topic_id"), names) if names else F.lit(None).cast("string"))


def topics_of(log: Log, settings: Settings) -> dict[str, str]:
    """Topic id (or source) → the name of its topic, of all that the log holds, by what the archive noted. Raises
    JobError where the settings do not have it: they would not say how its records are decoded."""
    known, held = log.topics(), log.topic_ids()
    if unknown := sorted(held - known.keys()):
        raise JobError(
            f"{log.name} has records of {', '.join(unknown)}, and nobody noted of which topic these are: start "
            "archive_events once with the settings of before there were [[topics]]"
        )
    if left := sorted({known[of] for of in held} - settings.by_topic.keys()):
        raise JobError(
            f"{log.name} has records of the topics {', '.join(left)}, which [[topics]] does not name: name each, with "
            "read = false where it is to be read no more, so that it is known how its records are decoded"
        )
    return {of: known[of] for of in sorted(held)}


def as_decoded(records: DataFrame, settings: Settings) -> DataFrame:
    """Those of the log's records that the settings' decoder has decoded: their payloads need not be parsed again."""
    decoded = records.where(_decoded(records, settings))
    there = fields_of(records)
    fields = [
        (F.col(f"fields.`{name}`") if name in there else F.lit(None)).cast(kind).alias(name)
        for name, kind in field_types(settings.rules).items()
    ]
    return decoded.withColumn("fields", F.struct(*fields))


def undecoded(records: DataFrame, settings: Settings) -> DataFrame | None:
    """The others, of which the payloads are to be decoded; None where the files' statistics say that there are
    none."""
    log = Log(records.sparkSession, settings)
    views, names = settings.by_topic, topics_of(log, settings) if settings.topics else {}
    expected = {of: views[names[of]].decoder if names else settings.decoder for of in log.topic_ids()}
    if _alike(records, settings) and log.decoders() <= set(expected.items()):
        return None
    return records.where(~_decoded(records, settings))


def read_offsets(spark: SparkSession, settings: Settings, topic_id: str | None = None) -> DataFrame:
    """(topic_id, partition, offset) of every record of Kafka's (of the topic with that id)."""
    rows = Log(spark, settings).rows().where(F.col("file").isNull()).select("topic_id", "partition", "offset")
    return rows if topic_id is None else rows.where(F.col("topic_id") == topic_id)


def last_appended(
    spark: SparkSession, settings: Settings, topic_id: str, partition: int | None = None
) -> datetime | None:
    """When the newest record of the topic (in the partition) was appended: by the broker's stamps, not producers'."""
    rows = Log(spark, settings).rows().where(F.col("topic_id") == topic_id)
    rows = rows.where(F.coalesce("timestamp_type", F.lit(1)) == 1)
    if partition is not None:
        rows = rows.where(F.col("partition") == partition)
    seconds = rows.agg(F.max("timestamp").cast("double")).first()
    return datetime.fromtimestamp(seconds[0], UTC) if seconds and seconds[0] is not None else None


def _alike(records: DataFrame, settings: Settings) -> bool:
    """Whether the fields have the types that the settings say; if not, they were written by other settings, and the
    archive has not been started with these."""
    have = fields_of(records)
    return all(have.get(name) == kind for name, kind in field_types(settings.rules).items())


def _decoded(records: DataFrame, settings: Settings) -> Column:
    """Whether a record's columns are what the settings' decoder makes of its payload."""
    return by_its_decoder(settings) if _alike(records, settings) else F.lit(False)


def by_its_decoder(settings: Settings) -> Column:
    """The condition on records of the log that the decoder of the settings (of their topic, where there are several)
    has decoded them."""
    decoders = {name: view.decoder for name, view in settings.by_topic.items()}
    expected = _by_topic(F.col(TOPIC), decoders) if settings.topics else F.lit(settings.decoder)
    return F.coalesce(F.col("decoder") == expected, F.lit(False))


def _by_topic(of: Column, values: Mapping[str, str]) -> Column:
    """The value of what the column holds; null where it has none."""
    return F.coalesce(*[F.when(of == name, value) for name, value in values.items()])
