"""Which run of the batch is due: what it starts from, what it recounts, and what it will publish.

A run takes every counter to one cutoff. A counter that the published totals hold is counted on from them; one that they
do not hold (it is new, or somebody asks for it) is recounted from the whole log, in the same run.

All that a run writes has one write timestamp, cutoff + revision. The revision is raised above whatever the run must
overwrite: what was published, what a run that died has loaded, and, for counters that are recounted or restored,
whatever is stored, be it written by hand, by a clock that is ahead, or by an earlier version. Every later run exceeds
that one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from stitch.cutoff import Published, next_run
from stitch.errors import ExitStatus, StitchError
from stitch.write_time import LATEST

COMPARED = "compared."  # and a counter: the figure of a refused run, how many events it was compared with
SUBJECT = "totals"  # the ledger's partition: all runs that write the same tables
ROOM = 10**6  # of runs that can follow one whose revision was raised


# (topic id, partition) → the offset of the next record that is not read
Position = Mapping[tuple[str, int], int]
NOTHING: Position = {("", 0): 0}  # of a run that has read an empty log; an empty position is one that nobody knows


def position_of(said: Mapping[str, int]) -> Position:
    """A position as tables have it (`topic id:partition` → offset), read."""
    parts = {name.rpartition(":"): offset for name, offset in said.items()}
    return {(topic, int(partition)): offset for (topic, _, partition), offset in parts.items()}


def position_as_said(position: Position) -> dict[str, int]:
    """A position as tables have it."""
    return {f"{topic}:{partition}": offset for (topic, partition), offset in position.items()}


class PlanError(StitchError):
    """The run that was asked for cannot be; the message says why and what can."""

    exit_status = ExitStatus.USAGE


class State(StrEnum):
    """How far a run came, in this order: jobs.ledger.runs writes them with timestamps that grow with it."""

    COUNTING = "counting"  # nothing of it can be read
    REFUSED = "refused"  # by the guard: nothing was loaded
    LOADING = "loading"  # rows of it may be in the tables
    PUBLISHED = "published"


@dataclass(frozen=True)
class Noted:
    """A run as the table `runs` has it.

    counters: those whose totals it has, by definition; empty: nobody noted them
    position: up to which offsets it has read (Position); empty: nobody noted it
    reason:   why it was refused, what somebody accepted, why nothing was compared, or the tag that it restored
    figures:  what it read and wrote: {"events": 336776, …}
    noted_at: when it came to this state, by the clock of `noted_by` (host and process): for people
    """

    at: Published
    kind: str
    state: State
    recount: frozenset[str] = frozenset()
    counters: frozenset[str] = frozenset()
    position: Position = field(default_factory=dict)
    reason: str | None = None
    figures: Mapping[str, int] = field(default_factory=dict)
    noted_at: datetime | None = None
    noted_by: str | None = None


@dataclass(frozen=True)
class Held:
    """What totals hold of a counter, from where a run goes on with it.

    cutoff:    they hold the events of ingest windows before it
    position:  what stands at or behind it was not counted, however old its stamp; empty: not known
    excluding: the snapshot of the exclusions' table that they were counted with; 0: without any
    by, compared: of a counter that the guard left behind: the name (tag) of the run that published it, and how many
               events it was compared with when it was refused
    """

    cutoff: datetime
    position: Position = field(default_factory=dict)
    excluding: int = 0
    by: str = ""
    compared: int | None = None


@dataclass(frozen=True)
class How:
    """How totals were counted, for who goes on from them.

    counters:    those that have totals, by definition. Empty: not known
    position:    up to which offsets the log was read; empty: not known
    behind:      the counters that the guard left as an earlier run published them
    figures:     {"exclusions": how many there were, "exclusions_snapshot": of their table, "ingest_window": seconds}
    """

    counters: frozenset[str] = frozenset()
    position: Position = field(default_factory=dict)
    figures: Mapping[str, int] = field(default_factory=dict)
    behind: Mapping[str, Held] = field(default_factory=dict)

    def text(self) -> str:
        """As JSON."""
        said = {"counters": sorted(self.counters), "position": position_as_said(self.position),
                "figures": dict(self.figures),
                "behind": {name: _held_as_said(held) for name, held in self.behind.items()}}  # fmt: skip
        return json.dumps(said)

    @classmethod
    def of(cls, text: str) -> How:
        """From JSON."""
        said: dict[str, Any] = json.loads(text)
        behind = {name: _held(held) for name, held in said.get("behind", {}).items()}
        return cls(frozenset(said.get("counters", ())), position_of(said["position"]), said["figures"], behind)


def _held_as_said(held: Held) -> dict[str, Any]:
    return asdict(held) | {"cutoff": held.cutoff.isoformat(), "position": position_as_said(held.position)}


def _held(said: dict[str, Any]) -> Held:
    cutoff = datetime.fromisoformat(said["cutoff"])
    return Held(**{**said, "cutoff": cutoff, "position": position_of(said["position"])})


@dataclass(frozen=True)
class HalfLoaded:
    """What runs that died may have loaded in part: rows of this write timestamp and earlier ones; `recount`: the
    counters that they recounted."""

    write_time: int
    recount: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Run:
    """From the published totals (None: from nothing) to `target`; the counters of `recount` from the whole log.

    died: whether a run since the published one may have loaded rows; those are written again, for this run may count
          other events (somebody excluded some meanwhile), and would leave what it does not touch
    held:      what the base's totals hold; None: the events before its cutoff, and no more is known
    behind:    counters that the guard left as an earlier run than the base published them: what the base's totals hold
               of them
    refused:   counter because of which a whole run was refused since the base → how many events it was compared with
    cutoffs:   of counters that were published by another run than the base, what they were published at
    redefined: the counters that replace another definition of themselves, which readers get so far
    upto:      the position of this run: what stands at or behind it is for the next; empty: all is read
    """

    base: Published | None
    target: Published
    recount: frozenset[str]
    kind: str  # incremental, full, restore or rollup
    died: bool = False
    held: Held | None = None
    behind: Mapping[str, Held] = field(default_factory=dict)
    cutoffs: Mapping[str, datetime] = field(default_factory=dict)
    redefined: frozenset[str] = frozenset()
    upto: Position = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def loaded_since(self) -> int | None:
        """The write timestamp behind which rows may be of runs that died; None where there are none to look for."""
        return self.base.write_time if self.died and self.base else None

    @property
    def done(self) -> Published:
        """What it is published as: a restore under a revision of its own, so that readers' caches, which keep totals
        under the published run, drop what they read while the rows were loaded."""
        return self.target._replace(revision=self.target.revision + 1) if self.kind == "restore" else self.target

    def goes_on_from(self, counter: str) -> Held | None:
        """What totals hold of the counter that the run adds to; None: it counts the whole log."""
        return None if counter in self.recount else self.base_of(counter)

    def by_held(self, counters: Collection[str]) -> list[tuple[Held, list[str]]]:
        """The counters by what totals held of them before the run: most have that in common. Those are left out
        of which there are none."""
        groups: list[tuple[Held, list[str]]] = []
        for counter in counters:
            if held := self.base_of(counter):
                mine = next((names for other, names in groups if other == held), None)
                if mine is None:
                    groups.append((held, mine := []))
                mine.append(counter)
        return groups

    @property
    def compared_before(self) -> dict[str, int]:
        """Counter that was refused and has not been published since → how many events it was compared with then."""
        behind = {name: held.compared for name, held in self.behind.items() if held.compared is not None}
        return {name: min(part[name] for part in (behind, self.refused) if name in part)
                for name in {*behind, *self.refused}}  # fmt: skip

    def can_leave(self, left: Collection[str], counters: Collection[str]) -> bool:
        """Whether it can be published without those of the counters that are to be left as they are.

        They can be gone on with where the run has only added to them, and no other has died whose rows would be
        forgotten; and there must be something new in the others.
        """
        if self.died or any(self.goes_on_from(counter) is None for counter in left):
            return False
        others = [self.goes_on_from(counter) for counter in counters if counter not in left]
        return any(held is None or held.cutoff < self.target.cutoff for held in others)

    def base_of(self, counter: str) -> Held | None:
        """What published totals hold of the counter, whether the run adds to them or not; None: there are none."""
        return self.behind.get(counter) or self.held or (Held(self.base.cutoff) if self.base else None)


def described(run: Noted) -> str:
    """The run in a line, and the lines of its reason."""
    figures = " ".join(f"{name}={value}" for name, value in sorted(run.figures.items()))
    recount = f"recounted={','.join(sorted(run.recount))}" if run.recount and run.kind != "full" else ""
    when = f"{run.noted_at:%F %T}" if run.noted_at else ""
    said = [
        f"cutoff={run.at.cutoff:%FT%TZ}",
        f"revision={run.at.revision}",
        run.kind,
        run.state,
        when,
        run.noted_by or "",
    ]
    reason = "".join(f"\n    {line.strip()}" for line in (run.reason or "").splitlines())
    return " ".join(part for part in (*said, recount, figures) if part) + reason


def half_loaded(runs: Iterable[Noted], base: Published | None) -> HalfLoaded | None:
    """What runs after the published one have loaded without coming to publish."""
    died = [run for run in runs if run.state == State.LOADING and (base is None or run.at.write_time > base.write_time)]
    if not died:
        return None
    return HalfLoaded(max(run.at.write_time for run in died), frozenset().union(*(run.recount for run in died)))


def publication(runs: Iterable[Noted], at: Published | None) -> Noted | None:
    """The run that published those totals; None where the ledger does not say."""
    return next((run for run in runs if run.at == at and run.state == State.PUBLISHED), None)


def refused_since(runs: Iterable[Noted], at: Published | None) -> dict[str, int]:
    """Counter because of which a whole run was refused since that one → the least that it was compared with."""
    found: dict[str, int] = {}
    for run in runs:
        if run.state == State.REFUSED and (at is None or run.at.write_time > at.write_time):
            for name, compared in run.figures.items():
                if name.startswith(COMPARED):
                    counter = name.removeprefix(COMPARED)
                    found[counter] = min(compared, found.get(counter, compared))
    return found


def newest(counters: Collection[str], known: Mapping[str, Published]) -> Published | None:
    """The newest run that published any of the counters."""
    return max((known[name] for name in counters if name in known), key=lambda at: at.write_time, default=None)


def earliest_cutoff(counters: Collection[str], known: Mapping[str, Published]) -> datetime | None:
    """The published cutoff from which on readers need increments: that of the counter that is furthest behind."""
    return min((known[name].cutoff for name in counters if name in known), default=None)


def latest_cutoff(counters: Collection[str], known: Mapping[str, Published]) -> datetime | None:
    """The latest published cutoff of any of the counters. It is the newest run's, unless that restored older totals and
    left a counter as it was."""
    return max((known[name].cutoff for name in counters if name in known), default=None)


def plan(
    counters: Collection[str],
    known: Mapping[str, Published],
    cutoff: datetime,
    held: bool,
    full: bool = False,
    only: str | None = None,
    died: HalfLoaded | None = None,
    stored: int | None = None,
    redefined: frozenset[str] = frozenset(),
    behind: Mapping[str, Held] | None = None,
) -> Run | None:
    """The run to `cutoff`, or None where nothing is left to do.

    known: what is published of each counter
    held:  whether the table has the totals of the newest published run; else all is recounted
    full:  recount from the whole log: every counter, or that of `only`
    died:  the runs before, where they did not come to publish; what they recounted must be recounted, or some of
           their rows would stay, and what they wrote must be overwritten
    stored: the latest write timestamp in the tables of cutoffs and runs, whoever wrote it: a publication must overwrite
           it, and no two runs have the same
    redefined: the counters of which another definition is published, in `known`; they are recounted
    behind: the counters that the newest run left as an earlier one published them: what its totals hold of them
    """
    behind = behind or {}
    base, latest = newest(counters, known), latest_cutoff(counters, known)
    if latest and cutoff < latest:
        raise PlanError(
            f"the cutoff {cutoff:%FT%TZ} is before the published one, {latest:%FT%TZ}: totals do not go back, save by "
            "--restore"
        )
    fresh = frozenset(name for name in counters if base is None or known.get(name) != base) - behind.keys()
    if (full and only is None) or not held:
        fresh = frozenset(counters)
    elif full and only:
        fresh |= {only}
    fresh |= redefined | (died.recount & frozenset(counters) if died else frozenset())
    behind = {name: held for name, held in behind.items() if name in counters}
    if base and base.cutoff == cutoff and not fresh and not behind:
        return None
    kind = "full" if fresh == frozenset(counters) else "incremental"
    cutoffs = {name: known[name].cutoff for name in counters
               if name in known and known[name] != base and name not in redefined}  # fmt: skip
    target = next_run(cutoff, _to_overwrite(base, died))
    run = Run(base, target, fresh, kind, died is not None, behind=behind, cutoffs=cutoffs, redefined=redefined)
    return overwriting(run, stored, "cutoffs")


def restoring(
    counters: Collection[str],
    known: Mapping[str, Published],
    cutoff: datetime,
    died: HalfLoaded | None = None,
    stored: int | None = None,
) -> Run:
    """The run that loads the totals of a kept run again; its rows must win over those of every later run."""
    base = newest(counters, known)
    run = Run(base, next_run(cutoff, _to_overwrite(base, died)), frozenset(counters), "restore", died is not None)
    return overwriting(run, stored, "cutoffs")


def overwriting(run: Run, stored: int | None, table: str) -> Run:
    """The run with a revision that overwrites what was found in the table: the latest write timestamp there, or None.

    Raises PlanError where no later one can be written.
    """
    if stored is None or stored < run.target.write_time:
        return run
    if stored > LATEST - ROOM:
        raise PlanError(
            f"a row of the table {table} has the write timestamp {stored} (µs), and no later one can be written: "
            f"nothing that Stitch writes does that. Find it (SELECT …, WRITETIME(…) FROM {table}), "
            f"TRUNCATE {table}, and run `batch_totals --full`, which writes all of it from the log"
        )
    return replace(run, target=next_run(run.target.cutoff, stored))


def going_back(known: Mapping[str, Published], target: Published) -> frozenset[str]:
    """The counters whose published cutoff a restore takes back: that is published BEFORE their rows are written, since
    rows not restored yet carry their own, newer cutoff. Of the others it is published after, as by every load: their
    rows are older.
    """
    return frozenset(name for name, at in known.items() if at.cutoff >= target.cutoff)


def _to_overwrite(base: Published | None, died: HalfLoaded | None) -> int | None:
    return max((run.write_time for run in (base, died) if run), default=None)


def tag(at: Published) -> str:
    """The name under which the totals of that run are kept."""
    return f"cutoff={at.cutoff:%Y%m%dT%H%M%SZ}-r{at.revision}"


def of_tag(name: str) -> Published | None:
    """The run whose totals are kept under that name; None for any other name."""
    match = re.fullmatch(r"cutoff=(\d{8}T\d{6}Z)-r(\d+)", name)
    try:
        return Published(datetime.fromisoformat(match[1]), int(match[2])) if match else None
    except ValueError:  # no such day
        return None
