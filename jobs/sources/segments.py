"""The segments of an archived log: one for each checkpoint that wrote on it, numbered folders below `log.path`.

Spark's file sink knows which files count by its own record in the folder, which belongs to one checkpoint. So a log
whose checkpoint was lost goes on in a new segment, at the offsets behind the old one; a topic that was recreated, whose
offsets begin at 0 again, gets a new one too. A log is the union of its segments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stitch.notes import read_lines, read_note, write_note
from stitch.sections import LogSettings

_NOTE = "topic.json"
_UNKNOWN_TOPIC = (
    'It says which topic the segment\'s records come from: write {"topic_id": "…"} there, with the id that '
    "`kafka-topics.sh --describe` prints, or that of another segment where the topic was the same"
)
_LOSS = ("partition", "first", "last", "appended_after", "appended_before")
_UNKNOWN_LOSS = "It says which records were accepted as lost: complete the line, or remove it and accept the loss again"


@dataclass(frozen=True)
class Segment:
    """One folder of the log, and the id of the topic that its records come from."""

    number: int
    path: Path
    topic_id: str

    @property
    def readable(self) -> bool:
        """Whether a micro-batch was committed: files before that are not part of the log."""
        return Path(self.path, "_spark_metadata").is_dir()


def segments(log: LogSettings) -> list[Segment]:
    """All of them, the oldest first. Raises TornNote."""
    found = []
    for path in Path(log.path).glob("segment=*"):
        note = Path(path, _NOTE)
        if note.exists():
            said = read_note(note, ("topic_id",), _UNKNOWN_TOPIC)
            found.append(Segment(int(path.name.partition("=")[2]), path, said["topic_id"]))
    return sorted(found, key=lambda segment: segment.number)


def begin(log: LogSettings, topic_id: str) -> Segment:
    """Make the folder of the next segment."""
    number = max((segment.number for segment in segments(log)), default=0) + 1
    path = Path(log.path, f"segment={number}")
    path.mkdir(parents=True, exist_ok=True)
    write_note(Path(path, _NOTE), json.dumps({"topic_id": topic_id}))
    return Segment(number, path, topic_id)


def checkpoint_of(log: LogSettings, segment: Segment) -> str:
    """Where the checkpoint of the segment's query is."""
    return f"{log.checkpoint}/segment={segment.number}"


def note_loss(
    log: LogSettings, lost: Mapping[int, tuple[int, int | None]], since: datetime | None, until: datetime | None
) -> None:
    """Keep a record of what the log will never hold: the batch names the hours, the audit expects the gap.

    lost: partition → the first and the last lost offset (None: unknown); since, until: between which instants they
    were appended
    """
    known = losses(log)
    for partition, (first, last) in lost.items():
        loss = {"partition": partition, "first": first, "last": last,
                "appended_after": since.isoformat() if since else None,
                "appended_before": until.isoformat() if until else None}  # fmt: skip
        known += [loss] if loss not in known else []
    write_note(losses_file(log), "".join(json.dumps(loss) + "\n" for loss in known))


def losses(log: LogSettings) -> list[dict[str, Any]]:
    """What was noted as lost, in the order in which it was. Raises TornNote."""
    return read_lines(losses_file(log), _LOSS, _UNKNOWN_LOSS)


def losses_file(log: LogSettings) -> Path:
    """Beside the log, not in it."""
    return Path(log.path).with_name(Path(log.path).name + ".losses.jsonl")
