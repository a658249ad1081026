"""Raw records decoded into events, or into the reason why they are none, by the rules of stitch.decoding.

Whether an event is valid, and when it occurred, depends on the record alone, so the streaming job, the archive, the
batch and every replay decide alike: all of them decode here. An event's fields stay in a struct, so that whatever
their names are none is taken for a column of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from operator import or_
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.frames.arrow import decoded_batches
from stitch.combining import TIMES, Combining
from stitch.decoding import OWN, TOPIC, Rules
from stitch.lake import field_types
from stitch.rejections import KINDS, OTHER
from stitch.settings import Settings

DECODED = ["partition", "offset", "timestamp", "event_id", "type", "occurred_at", "fields", "notes", "reject_reason"]
BY_KIND, ABSENT = "rejected_by_kind", "absent_"  # among what is observed; the latter: and a field
NEEDED = ("value", "timestamp", "timestamp_type")


def decode(records: DataFrame, settings: Settings, keep: Sequence[str], how: Combining | None = None) -> DataFrame:
    """(value: binary, timestamp, timestamp_type, keep…) → (keep…, event_id, type, occurred_at, fields, notes,
    reject_reason).

    reject_reason is null for an event, and all others of these are null where it is not; `notes` tell of fields that
    are absent because something was wrong with them. timestamp_type is null where nobody said who stamped the record:
    it is trusted. Where the settings have several topics, the column TOPIC is needed, too, and kept.

    how: events that count alike become one row, with the column `times`, the newest `timestamp` of theirs, and of what
         they do not count by, nulls
    """
    rules = {name: view.rules for name, view in settings.by_topic.items()}
    of_topic = [TOPIC] if settings.topics else []
    keep = list(dict.fromkeys([*keep, *of_topic]))
    kept = [f"`{name}` {records.schema[name].dataType.simpleString()}" for name in keep]
    schema = ", ".join([*kept, "event_id string, type string, occurred_at timestamp",
                        f"fields {fields_type(settings.rules)}", "notes array<string>",
                        "reject_reason string", *([f"{TIMES} bigint"] if how else [])])  # fmt: skip
    needed = records.select(*dict.fromkeys([*NEEDED, *of_topic, *keep]))
    return needed.mapInArrow(partial(decoded_batches, rules=rules, keep=tuple(keep), how=how), schema)


def fields_type(rules: Rules) -> str:
    """The type of the column `fields` that `decode` makes, as DDL."""
    return f"struct<{', '.join(f'`{name}`: {kind}' for name, kind in field_types(rules).items())}>"


def observed(decoded: DataFrame, settings: Settings) -> DataFrame:
    """The same, with an observation `decoded` in the query's progress: `not_taken`."""
    return decoded.observe("decoded", *not_taken(settings))


def not_taken(settings: Settings) -> list[Column]:
    """What there was that is not counted: how many records were `rejected`, and of each kind of reason (by_kind); how
    many fields are absent because something was wrong with them (`noted`), and by their names (`absent_FIELD`)."""
    reason, notes = F.col("reject_reason"), F.col("notes")
    kind = F.lit(len(KINDS))
    for number, pattern in reversed(list(enumerate(KINDS.values()))):
        kind = F.when(reason.rlike(pattern), number).otherwise(kind)
    # One figure in place of ten, for each costs every record a tenth of a microsecond. Exact: each has a bin.
    kinds = F.histogram_numeric(F.when(reason.isNotNull(), kind), F.lit(len(KINDS) + 1))
    paths: dict[str, set[str]] = {}  # of a field, in each topic
    for view in settings.by_topic.values():
        for one in view.rules.fields:
            paths.setdefault(one.name, set()).add(one.path)
    absent = [
        F.count(F.when(notes.isNotNull() & F.exists(notes, about(sorted(of_it))), 1)).alias(f"{ABSENT}{name}")
        for name, of_it in paths.items()
    ]
    return [
        F.count("reject_reason").alias("rejected"),
        F.to_json(kinds).alias(BY_KIND),
        noted().alias("noted"),
        *absent,
    ]


def by_kind(observed: Mapping[str, Any]) -> dict[str, int]:
    """Kind of reason → how many records were rejected for it, of what was observed: `not_taken`."""
    found = {int(each["x"]): int(each["y"]) for each in json.loads(observed.get(BY_KIND) or "[]")}
    return {kind: found.get(number, 0) for number, kind in enumerate((*KINDS, OTHER))}


def about(paths: Sequence[str]) -> Callable[[Column], Column]:
    """Whether a note is about the field that has one of these paths."""
    return lambda note: reduce(or_, (note.startswith(f"{path} is ") for path in paths))


def noted(among: Column | None = None) -> Column:
    """How many fields (of some records) are absent because something was wrong with them."""
    some = F.col("notes").isNotNull() if among is None else F.col("notes").isNotNull() & among
    return F.coalesce(F.sum(F.when(some, F.size("notes"))), F.lit(0))


def accepted(decoded: DataFrame) -> DataFrame:
    """Decoded records → events: (timestamp, event_id, type, occurred_at, fields, and TOPIC and `times` where they
    have them), rejected ones left out."""
    events = decoded.where(F.col("reject_reason").isNull())
    also = [name for name in decoded.columns if name in (TOPIC, TIMES)]
    return events.select("timestamp", "event_id", "type", "occurred_at", "fields", *also)


def field(name: str) -> Column:
    """An event's own column, its topic's, or the one of its fields."""
    return F.col(name if name in OWN or name == TOPIC else f"fields.`{name}`")
