"""What is known of an installation, and what is found wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from stitch.errors import StitchError
from stitch.schema import Difference
from stitch.settings import Settings
from stitch.tables import LayerName


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, and will not always
    AWAY = "away"  # a part does not answer: run it again
    PROBLEM = "problem"  # a job or the reader will fail, or counts may be lost


class Finding(NamedTuple):
    """mend: what to do; empty where all is well."""

    check: str
    level: Level
    what: str
    mend: str = ""


@dataclass(frozen=True)
class TopicFacts:
    """config: as the brokers have it. refusals: why it cannot be counted, each with the way out. replicas: by
    partition. groups: why the jobs' consumer groups may not be used; None: they may. newest: the stamp of a record."""

    config: Mapping[str, str]
    refusals: Sequence[str] = ()
    replicas: Mapping[int, int] = field(default_factory=dict)
    brokers: int = 1
    groups: str | None = None
    newest: datetime | None = None


@dataclass(frozen=True)
class LayerFacts:
    """factor: replicas in the layer's datacenter; None: not known. clock: what its clock is ahead of this one."""

    differences: Sequence[Difference] = ()
    factor: int | None = None
    nodes: int = 1
    down: Sequence[str] = ()
    clock: timedelta = timedelta(0)
    cutoffs: Mapping[str, datetime] = field(default_factory=dict)


class Disk(NamedTuple):
    """What is kept below a path of the settings: bytes that are free there, and whether it may be written."""

    setting: str
    path: str
    free: int
    writable: bool


@dataclass(frozen=True)
class Facts:
    """What was asked: a StitchError in the place of what did not answer. variables: those that set nothing."""

    settings: Settings
    now: datetime
    topics: Mapping[str, TopicFacts | StitchError] = field(default_factory=dict)
    layers: Mapping[LayerName, LayerFacts | StitchError] = field(default_factory=dict)
    java: str | StitchError = ""
    jars: str | StitchError = ""
    disks: Sequence[Disk] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
