"""How Stitch is doing, in one look: which parts answer, how far each has come, and how the last runs ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from stitch.runs import Noted, described


@dataclass(frozen=True)
class Part:
    """A layer, or Kafka. reason: why it does not answer; None where it does."""

    name: str
    reason: str | None = None


@dataclass(frozen=True)
class TopicState:
    """A topic, by partition: the offset behind its last record, and the first that a job has not come to yet.

    counted, archived: nothing of a partition of which nobody told
    """

    name: str
    ends: Mapping[int, tuple[int, int]]
    counted: Mapping[int, int]
    archived: Mapping[int, int]

    def behind(self, job: Mapping[int, int]) -> dict[int, int] | None:
        """partition → how many offsets the job is behind; None where it told of none. What the broker has removed is
        none of them."""
        if not job:
            return None
        return {p: max(0, end - max(job.get(p, 0), first)) for p, (first, end) in self.ends.items()}


@dataclass(frozen=True)
class Overview:
    """cutoffs: counter → up to where the batch has published it; None: not yet. through: up to where increments are."""

    at: datetime
    parts: Sequence[Part]
    through: datetime | None = None
    topics: Sequence[TopicState] = ()
    cutoffs: Mapping[str, datetime | None] = field(default_factory=dict)
    runs: Sequence[Noted] = ()

    def as_json(self) -> dict[str, Any]:
        """As `stitch status --json` has it."""
        return {
            "at": self.at.isoformat(),
            "parts": {part.name: {"up": part.reason is None, "reason": part.reason} for part in self.parts},
            "realtime_through": self.through and self.through.isoformat(),
            "realtime_lag_seconds": self.through and round((self.at - self.through).total_seconds(), 3),
            "topics": [
                {
                    "name": topic.name,
                    "offsets": sum(end - first for first, end in topic.ends.values()),
                    "lag": {"streaming_counts": _lag(topic.behind(topic.counted)),
                            "archive_events": _lag(topic.behind(topic.archived))},
                }
                for topic in self.topics
            ],
            "cutoffs": {name: cutoff and cutoff.isoformat() for name, cutoff in self.cutoffs.items()},
            "runs": [_run(run) for run in self.runs],
        }  # fmt: skip

    def text(self) -> str:
        """As a page."""
        found = [f"stitch status {self.at:%FT%TZ}"]
        found += [f"{part.name:<9} {'up' if part.reason is None else part.reason}" for part in self.parts]
        if self.through:
            found.append(f"counted through {self.through:%FT%TZ}, {ago(self.at - self.through)}")
        for topic in self.topics:
            held = sum(end - first for first, end in topic.ends.values())
            jobs = {"streaming_counts": topic.counted, "archive_events": topic.archived}
            lags = "; ".join(f"{job} {_behind(topic.behind(at))}" for job, at in jobs.items())
            found.append(f"topic {topic.name}: {held} offsets; {lags}")
        by_cutoff: dict[datetime | None, list[str]] = {}
        for name, cutoff in self.cutoffs.items():
            by_cutoff.setdefault(cutoff, []).append(name)
        for cutoff, names in by_cutoff.items():
            at = f"published to {cutoff:%FT%TZ}, {ago(self.at - cutoff)}" if cutoff else "not published yet"
            found.append(f"{at}: {', '.join(names)}")
        if all(part.reason is None for part in self.parts if part.name == "batch"):
            found.append("last runs:" if self.runs else "no run made totals yet")
        return "\n".join([*found, *map(described, self.runs)])


def ago(length: timedelta) -> str:
    """`2 h 10 min ago`."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size, finer, of in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // of} {finer} ago"
    return f"{seconds} s ago"


def _lag(behind: dict[int, int] | None) -> dict[str, Any] | None:
    return None if behind is None else {"offsets": sum(behind.values()), "partitions": behind}


def _behind(behind: dict[int, int] | None) -> str:
    if behind is None:
        return "told of no offset yet"
    worst = max(behind, key=lambda p: behind[p], default=None)
    most = f" (partition {worst}: {behind[worst]})" if worst is not None and behind[worst] else ""
    return f"{sum(behind.values())} behind{most}"


def _run(run: Noted) -> dict[str, Any]:
    return {
        "cutoff": run.at.cutoff.isoformat(), "revision": run.at.revision, "kind": run.kind, "state": run.state.value,
        "recounted": sorted(run.recount), "reason": run.reason or None, "figures": dict(run.figures),
        "noted_at": run.noted_at and run.noted_at.isoformat(), "noted_by": run.noted_by,
    }  # fmt: skip
