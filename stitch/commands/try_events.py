"""`stitch try`: what would become of events, each counted where, or why not; nothing has to be set up for it."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from io import BufferedReader
from typing import BinaryIO

import click

from stitch.buckets import micros
from stitch.commands.group import settings_of
from stitch.commands.progress import progress
from stitch.errors import ExitStatus, StitchError
from stitch.predicates import Beyond, predicate
from stitch.rejections import printable
from stitch.settings import Settings
from stitch.trying import Outcome, Record, Summary, fields_of, outcomes
from stitch.weighing import Added, Holds, instant_of

SHOWN = 10  # kinds of a thing in the summary


class BadSample(StitchError):
    """The records to try cannot be read; the message says why."""

    exit_status = ExitStatus.USAGE


@click.command("try", short_help="What would become of events: counted where, or why not.")
@click.argument("file", required=False, metavar="[EVENTS.jsonl]")
@click.option("--topic", "from_topic", is_flag=True, help="Try the newest records of the topic, in place of a file.")
@click.option("-n", "most", type=click.IntRange(min=1), help="So many records (of the topic: 1000 unless said).")
@click.option("--of", "of", metavar="TOPIC", help="Whose events these are, where there are several topics.")
@click.option("--summary", is_flag=True, help="Only the sums at the end.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each record, and one for the sums.")
@click.pass_context
def try_events(
    context: click.Context,
    file: str | None,
    from_topic: bool,
    most: int | None,
    of: str | None,
    summary: bool,
    as_json: bool,
) -> None:
    """Decode and weigh events by the settings: each is counted where, or why not.

    EVENTS.jsonl has an event in each line (- is standard input; .gz is unpacked); they are taken as appended now. With
    --topic, the newest records of the topic are read. No table, job or Spark is needed, and nothing is written.
    Exit status 1 where not one of them counts.
    """
    if (file is None) != from_topic:
        raise click.UsageError("name a file of events, or --topic: one of the two")
    settings = settings_of(context)
    records: Iterable[Record]
    if file is not None:
        records = lines(file, the_topic(settings, of), most)
    else:
        records = of_topics(settings, [of] if of else list(settings.topics_read), most or 1000)
    holds, records = decided(settings, records)
    whole = tell(outcomes(records, settings, holds), summary, as_json)
    if not whole.records:
        raise BadSample(f"{file or 'the topic'} has no records to try")
    context.exit(ExitStatus.DONE if whole.counted else ExitStatus.LOOK)


def tell(found: Iterator[Outcome], summary: bool, as_json: bool) -> Summary:
    """Print each outcome, and their sums."""
    whole = Summary()
    for outcome in found:
        whole.add(outcome)
        if not summary:
            click.echo(json.dumps(outcome.as_json(), ensure_ascii=False) if as_json else described(outcome))
    click.echo(json.dumps({"summary": whole.as_json()}, ensure_ascii=False) if as_json else summed_up(whole))
    return whole


def lines(file: str, topic: str, most: int | None) -> Iterator[Record]:
    """The lines of the file that are not blank."""
    now = micros(datetime.now(UTC))
    number = read = 0
    try:
        size = 0 if file == "-" or file.endswith(".gz") else os.path.getsize(file)
        with opened(file) as rows, progress(f"reading {file}", size) as step:
            for at, line in enumerate(rows, 1):
                read += len(line)
                step(read if size else at)
                if line.strip():
                    number += 1
                    yield Record(f"line {at}", topic, line.rstrip(b"\r\n"), now)
                if number == most:
                    return
    except (OSError, EOFError) as error:
        raise BadSample(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def opened(file: str) -> BinaryIO | gzip.GzipFile | BufferedReader:
    if file == "-":
        return sys.stdin.buffer
    return gzip.open(file) if file.endswith(".gz") else open(file, "rb")


def of_topics(settings: Settings, topics: Sequence[str], most: int) -> list[Record]:
    """The newest records of the topics, in the order in which they were appended."""
    from connections.records import newest

    views = {topic: settings.by_topic[the_topic(settings, topic)] for topic in topics}
    several = len(settings.by_topic) > 1
    found = [(one, topic) for topic, view in views.items() for one in newest(view.kafka, most)]
    found.sort(key=lambda pair: (pair[0].appended, pair[0].partition, pair[0].offset))
    return [
        Record(f"{topic + ' ' if several else ''}{one.partition}:{one.offset}", topic, one.value, one.appended,
               one.timestamp_type)
        for one, topic in found[-most:]
    ]  # fmt: skip


def the_topic(settings: Settings, named: str | None) -> str:
    """The topic of that name, or the only one."""
    topics = list(settings.by_topic)
    if named is None and len(topics) > 1:
        raise click.UsageError(f"there are several topics; say whose events these are: --of {' | '.join(topics)}")
    if named is not None and named not in topics:
        raise click.UsageError(f"there is no topic {named!r} in the settings, but {', '.join(topics)}")
    return named or topics[0]


def decided(settings: Settings, records: Iterable[Record]) -> tuple[Holds, Iterable[Record]]:
    """(whether a counter's condition holds, the records): by stitch.predicates, and of what is more than those decide,
    by Spark, which is asked once for all records."""
    kinds = {name: kind for name, (_, kind) in settings.fields.items()} | {"event_id": "string", "type": "string"}
    simple = {}
    others = []
    for counter in settings.counters:
        if counter.where:
            try:
                simple[counter.name] = predicate(counter.where, kinds)
            except Beyond:
                others.append(counter)
    if not others:
        return (lambda counter, fields: simple[counter.name](fields)), records
    from stitch.commands.conditions_by_spark import held

    names = ", ".join(counter.name for counter in others)
    click.echo(f"where of {names}: more than comparisons, so Spark decides it, which takes a moment", err=True)
    records = list(records)
    by_spark = held(settings, others, fields_of(records, settings))
    return (lambda counter, fields: simple.get(counter.name, partial(by_spark, counter))(fields)), records


def described(outcome: Outcome) -> str:
    """The outcome in a line, and a line for each count it adds to, and for each it does not."""
    if outcome.rejected is not None or outcome.event is None:
        return f"{outcome.place}: rejected: {printable(outcome.rejected or '')}"
    event = outcome.event
    head = f"{outcome.place}: {event.type} {event.event_id or ''} at {instant_of(event):%Y-%m-%dT%H:%M:%SZ}"
    found = [head]
    if outcome.duplicate_of:
        found.append(f"    duplicate of {outcome.duplicate_of}: the two count once")
    found += [f"    + {_added(one)}" for one in outcome.added]
    found += [f"    - {counter}: {why}" for counter, why in outcome.left.items()]
    found += [f"    absent: {note}" for note in outcome.absent]
    if outcome.unweighed:
        found.append(f"    - no counter weighs events of the type {event.type!r}")
    return "\n".join(map(printable, found))


def _added(one: Added) -> str:
    finest, start = next(iter(one.buckets.items()))
    others = ", ".join(name for name in one.buckets if name != finest)
    who = one.key if one.member is None else f"{one.key} / {one.member}"
    return f"{one.counter:<20} {who:<28} {one.amount:+d} in the {finest} {start:%Y-%m-%dT%H:%MZ} and its {others}"


def summed_up(whole: Summary) -> str:
    """The sums of all outcomes, as a page."""
    rejected = whole.rejected.total()
    found = [f"{whole.records} records: {whole.events} events, of which {whole.duplicates} are duplicates; "
             f"{rejected} rejected"]  # fmt: skip
    for name, (events, amount) in whole.counted.items():
        found.append(f"  {name:<24} {amount:>12} by {events} events of {len(whole.keys[name])} keys")
    for title, tally in (
        ("rejected", whole.rejected),
        ("absent", whole.absent),
        ("types that no counter weighs", whole.unweighed),
        *((f"left out by {name}", why) for name, why in whole.left.items()),
    ):
        if tally:
            found.append(f"{title}:")
            found += [f"  {count:>8}  {printable(what)}" for what, count in tally.most_common(SHOWN)]
            if len(tally) > SHOWN:
                found.append(f"            and {len(tally) - SHOWN} more kinds")
    return "\n".join(found)
