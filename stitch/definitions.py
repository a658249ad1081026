"""Under which name the rows of a counter are stored: its own and the id of its definition, `plays@3f0c9a1b`.

A definition is what a counter weighs and by which key, the fields it reads, and what makes a record an event, by which
version of the decoder: with another one the same log gives other counts. A counter whose definition changes is counted
beside what it was, from the whole log. Readers get what was published until the new one is: nothing is ever mixed,
whichever settings a job or a reader still has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from stitch.counters import Counter
from stitch.cutoff import Published
from stitch.decoding import VERSION
from stitch.settings import Settings

AT = "@"  # no name of a counter has it


class Publication(NamedTuple):
    """What is published under a stored name. counter: its definition; None where an earlier version published it, under
    the counter's name alone. ranked: whether the lists of ranked_members are right with it; not where an earlier
    version published it, which left them as they were. charted: the same of ranked_keys; nor where the counter had no
    chart."""

    at: Published
    counter: Counter | None = None
    ranked: bool = False
    charted: bool = False

    @property
    def write_time(self) -> int:
        """As Published.write_time."""
        return self.at.write_time


def name_of(stored: str) -> str:
    """The counter's name in the settings."""
    return stored.partition(AT)[0]


def names_of(stored: Iterable[str]) -> list[str]:
    """The names of counters in the settings, in order."""
    return sorted({name_of(one) for one in stored})


def definition_of(settings: Settings, counter: Counter) -> str:
    """The id of the counter's definition: 8 hex digits."""
    said = [VERSION, *_read_as(settings, counter), counter.model_dump(mode="json", exclude={"name"})]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]


def _read_as(settings: Settings, counter: Counter) -> list[Any]:
    """How the counter's events are read: what makes a record one, and the fields that the counter reads; where topics
    differ in it, all of these, but for topics that have no event of the counter's types."""
    found: dict[str, list[Any]] = {}
    for topic in settings.by_topic.values():
        if topic.may_have_events_of(counter):
            rules = topic.rules
            reads = [field for field in rules.fields if field.name in counter.fields or field.name in rules.identity]
            said = [rules._replace(fields=()).said, reads]
            found[json.dumps(said)] = said
    return next(iter(found.values())) if len(found) == 1 else [[found[said] for said in sorted(found)]]


def _definitions_so_far(settings: Settings, counter: Counter) -> set[str]:
    """The ids of the counter's definition by these settings, and before topics at the end of their list were added:
    what such have is more events, and none that was there counts otherwise."""
    before = [settings.model_copy(update={"topics": settings.topics[:at]}) for at in range(1, len(settings.topics))]
    return {definition_of(one, counter) for one in (settings, *before)}


def stored_names(settings: Settings) -> dict[str, str]:
    """A counter's name → the name that its rows are stored under."""
    return {counter.name: counter.name + AT + definition_of(settings, counter) for counter in settings.counters}


def by_definition(settings: Settings, as_before: Mapping[str, str] | None = None) -> Settings:
    """The settings with counters named as their rows are stored. as_before: name → another stored name."""
    stored = stored_names(settings) | dict(as_before or {})
    return with_counters(
        settings, [counter.model_copy(update={"name": stored[counter.name]}) for counter in settings.counters]
    )


def served(published: Mapping[str, Published] | Mapping[str, Publication]) -> dict[str, str]:
    """A counter's name → the stored name under which readers find it: the definition that was published last."""
    found: dict[str, str] = {}
    for stored, at in published.items():
        other = found.setdefault(name_of(stored), stored)
        if other != stored and at.write_time >= published[other].write_time:
            found[name_of(stored)] = stored
    return found


def replacing(settings: Settings, published: Mapping[str, Published] | Mapping[str, Publication]) -> dict[str, str]:
    """Counter of the settings (by definition) → the stored name of another definition of it that readers get so
    far."""
    now = served(published)
    before = {counter.name: now.get(name_of(counter.name)) for counter in settings.counters}
    return {stored: other for stored, other in before.items() if other and other != stored}


def with_earlier(settings: Settings, earlier: Mapping[str, Counter | None]) -> Settings:
    """The settings (by definition), and earlier definitions of their counters, which readers may get so far: they are
    counted on until the new ones are published. One that the settings of [events] would give other counts is not among
    them.

    earlier: stored name → its definition; None: as an earlier version published it, which is as the settings have it
    """
    own = {name_of(counter.name): counter for counter in settings.counters}
    for stored, said in earlier.items():
        counter = said or own.get(name_of(stored))
        if counter is None or name_of(stored) not in own or own[name_of(stored)].name == stored:
            continue
        both = with_counters(settings, [*settings.counters, counter.model_copy(update={"name": stored})])
        if all(one.name.partition(AT)[2] in {"", *_definitions_so_far(both, one)} for one in both.counters):
            settings = both
    return settings


def as_text(counter: Counter) -> str:
    """The definition of the counter, whose name is a stored one, as JSON."""
    return counter.model_copy(update={"name": name_of(counter.name)}).model_dump_json()


@lru_cache(1000)  # readers ask it of the same few texts
def from_text(text: str | None) -> Counter | None:
    """A definition from JSON; None where there is none, or one that a later version wrote."""
    return _or_none(lambda: Counter.model_validate_json(text)) if text else None


def from_note(said: Mapping[str, Any]) -> Counter | None:
    """A definition as a checkpoint notes it (Counter.model_dump); None as from_text."""
    return _or_none(lambda: Counter.model_validate({**said, "name": name_of(said["name"])}))


def _or_none(read: Any) -> Counter | None:
    try:
        counter: Counter = read()
    except ValidationError:
        return None
    return counter


def with_counters(settings: Settings, counters: list[Counter]) -> Settings:
    """The settings with these counters in place of their own."""
    return settings.model_copy(update={"counters": counters})
