"""What a counter is: a named rule that turns events into signed amounts. One definition serves every job and the
reader.

A counter says which event types it weighs and by how much, which field names the key that is counted, and
perhaps which field names the member that the count is broken down by.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stitch.conditions import condition_fields, objection

FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
# What pages call things. Left out where a counter is written down (its definition, notes of checkpoints), for other
# words do not make other counts.
Words = Annotated[str | None, Field(default=None, min_length=1, max_length=80, exclude=True)]

RESOLUTIONS = {"1h": timedelta(hours=1), "15m": timedelta(minutes=15), "1m": timedelta(minutes=1)}


class Counter(BaseModel):
    """One `[[counters]]` table of the settings.

    name:       what the reader is asked for
    key:        the field whose value is counted (`track_id`)
    member:     the field that the count of a key is broken down by, or None
    weights:    event type → signed integer, or the name of an int field whose value is added
    where:      a SQL condition over event fields that an event must meet, or None
    resolution: the finest bucket kept
    title:      what pages call the counter ("Plays"), or None: its name
    unit:       what one of the count is ("minutes"), or None: the title
    key_label:  what pages call the key ("Track"), or None: the field's name
    chart:      whether the batch ranks the keys of each day, month and all time
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: FieldName
    key: FieldName
    member: FieldName | None = None
    weights: dict[str, int | FieldName] = Field(min_length=1)
    where: str | None = None
    resolution: Literal["1h", "15m", "1m"] = "1h"
    title: Words = None
    unit: Words = None
    key_label: Words = None
    chart: bool = Field(default=False, exclude=True)  # left out as words are: it decides no count

    @model_validator(mode="after")
    def member_differs_from_key(self) -> Counter:
        if self.member == self.key:
            raise ValueError("member: is the key itself; a breakdown needs another field")
        return self

    @model_validator(mode="after")
    def condition_is_about_the_event_alone(self) -> Counter:
        wrong = objection(self.where) if self.where else None
        if wrong:
            raise ValueError(f"where: {wrong}")
        return self

    def __eq__(self, other: object) -> bool:
        """Whether both count the same under one name, whatever pages call it."""
        return isinstance(other, Counter) and self.model_dump() == other.model_dump()

    @property
    def finest(self) -> timedelta:
        """The length of the finest bucket kept."""
        return RESOLUTIONS[self.resolution]

    @property
    def weight_fields(self) -> list[str]:
        """The fields whose values are summed."""
        return sorted({weight for weight in self.weights.values() if isinstance(weight, str)})

    @property
    def deciding(self) -> set[str]:
        """What decides whether, and for whom, an event counts: its fields, and perhaps its own three."""
        return {
            self.key,
            *([self.member] if self.member else []),
            *(condition_fields(self.where) if self.where else []),
        }

    @property
    def fields(self) -> list[str]:
        """Every event field that this counter reads, `where` included; the event's own three apart."""
        return sorted({*self.deciding, *self.weight_fields} - {"event_id", "type", "occurred_at"})
