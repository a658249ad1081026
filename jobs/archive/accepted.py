"""What an operator accepts of records that the log lacks, or that do not count: by topic, partition and offsets."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.lake.log import Log
from jobs.process.errors import BadOption
from jobs.process.options import Records
from jobs.sources.topic import topic_id
from stitch.settings import Settings

OfTopic = tuple[str, int, int, int]  # topic, partition, first and last offset


def of_topics(settings: Settings, ranges: Sequence[Records]) -> list[OfTopic]:
    """The ranges of offsets with their topic: where none is said, the only one. Raises BadOption where there are
    several."""
    names = list(settings.by_topic)
    for topic, partition, first, last in ranges:
        if topic is None and len(names) > 1:
            raise BadOption(
                f"{partition}:{first}-{last}: there are several topics, {', '.join(names)}; say whose partition that "
                f"is: {names[0]}/{partition}:{first}-{last}"
            )
    return [(topic or names[0], partition, first, last) for topic, partition, first, last in ranges]


def note_accepted(settings: Settings, log: Log, losses: Sequence[OfTopic], uncounted: Sequence[OfTopic]) -> None:
    """Keep a record in the log of what it will never hold, and of what it holds and nobody shall count. Raises
    BadOption where a topic is not known, and then nothing is kept."""
    ids = {topic: id_of(settings, log, topic) for topic, *_ in (*losses, *uncounted)}
    for topic, partition, first, last in losses:
        log.note_loss(ids[topic], {partition: (first, last)}, None, None)
    for topic, partition, first, last in uncounted:
        log.note_uncounted(ids[topic], partition, first, last)


def id_of(settings: Settings, log: Log, topic: str) -> str:
    """The id of the topic of that name, or with that id. Raises BadOption where neither is known."""
    if found := settings.topics_read.get(topic):
        return topic_id(found.kafka)
    if topic not in log.topic_ids():
        raise BadOption(f"{topic!r} is neither a topic that is read nor the id of one that {log.name} has records of")
    return topic
