"""`stitch try`: what becomes of a record is what the jobs make of it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from connections.records import starts
from stitch.cli import main
from stitch.commands.try_events import decided
from stitch.rejections import without_value
from stitch.trying import Record, outcomes
from tests.conftest import write_config
from tests.counted import SETTINGS, Row, rows_of
from tests.unit.test_decoding_model import APPENDED, events, payloads, written

# Events that mostly count: few ids, so that some come twice, and few keys, so that they meet in one count.
few = st.builds(
    lambda event, **own: written({**event, **own}, True, "").encode(),
    events,
    event_id=st.sampled_from([f"e{n}" for n in range(20)]),
    type=st.sampled_from(["play", "play", "like", "unlike", "skip"]),
    track_id=st.sampled_from(["t1", "t2", "", 7, None]),
    duration_s=st.sampled_from([0, 31, -5, "x", None]),
    volume=st.sampled_from([0.5, 0.4, None]),
    premium=st.sampled_from([True, False, None]),
    listener=st.fixed_dictionaries({"country": st.sampled_from(["DE", "FR", 31, "", None]),
                                    "at": st.just({}) | st.fixed_dictionaries({"city": st.sampled_from(["B", ""])})}),
)  # fmt: skip


def tried(values: list[bytes]) -> Counter[Row]:
    """The counts that `try` tells of, summed up."""
    records = [Record(f"line {at}", "events", value, APPENDED, 1) for at, value in enumerate(values)]
    holds, _ = decided(SETTINGS, records)
    found: Counter[Row] = Counter()
    for outcome in outcomes(records, SETTINGS, holds):
        for one in outcome.added:
            for granularity, start in one.buckets.items():
                found[one.counter, one.key, one.member, granularity, start] += one.amount
    return found


@given(st.lists(few | payloads, max_size=12))
def test_what_is_told_of_each_record_adds_up_to_the_counts_of_the_oracle(values: list[bytes]) -> None:
    assert tried(values) == rows_of(values)


PLAY = {"event_id": "e1", "type": "play", "occurred_at": "2026-11-20T10:44:00Z", "track_id": "t1", "creator_id": "c1",
        "country": "DE", "duration_s": 31}  # fmt: skip
TRIED: dict[str, tuple[Any, dict[str, Any]]] = {
    "an event": (PLAY, {"outcome": "event", "absent": [], "left": {}}),
    "a type that nobody weighs": ({**PLAY, "type": "skip"}, {"outcome": "event", "added": [], "left": {}}),
    "no JSON": ("{'a'}", {"outcome": "rejected", "reason": "not JSON: single quotes"}),
    "no identity": ({**PLAY, "event_id": " "}, {"outcome": "rejected", "reason": "event_id is missing"}),
    "fields that are not there": (
        {**PLAY, "creator_id": "", "duration_s": "long", "country": ["DE"]},
        {
            "absent": ["country is an array, not a text", "duration_s is not of type int: long"],
            "left": {
                "creator_plays": "creator_id is empty: no key",
                "listened_seconds": "duration_s is absent: no weight",
            },
        },
    ),
}


@pytest.fixture
def try_lines(tmp_path: Path) -> Callable[..., Result]:
    """Runs `stitch try` over these events; `counters` in place of those of conf/stitch.toml."""

    def run(*events: Any, options: tuple[str, ...] = (), counters: Any = None, **sections: Any) -> Result:
        config = write_config(tmp_path / "stitch.toml", **({"counters": counters} if counters else {}), **sections)
        lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
        (tmp_path / "events.jsonl").write_text("\n".join(lines), "utf-8")
        return CliRunner().invoke(
            main, ["--config", str(config), "try", str(tmp_path / "events.jsonl"), *options], catch_exceptions=False
        )

    return run


@pytest.mark.parametrize(("event", "told"), TRIED.values(), ids=TRIED.keys())
def test_each_record_is_told_with_its_outcome(try_lines: Callable[..., Result], event: Any, told: Any) -> None:
    found = json.loads(try_lines(event, options=("--json",)).output.splitlines()[0])
    assert {name: found[name] for name in told} == told


def test_a_count_is_told_with_its_key_member_buckets_and_weight(try_lines: Callable[..., Result]) -> None:
    found = json.loads(try_lines(PLAY, options=("--json",)).output.splitlines()[0])["added"]
    assert [(one["counter"], one["key"], one["member"], one["amount"]) for one in found] == [
        ("plays", "t1", None, 1), ("creator_plays", "c1", None, 1), ("creator_plays", "c1", "t1", 1),
        ("plays_by_country", "t1", None, 1), ("plays_by_country", "t1", "DE", 1), ("listened_seconds", "t1", None, 31),
    ]  # fmt: skip
    assert found[0]["buckets"] == {
        "hour": "2026-11-20T10:00:00+00:00", "day": "2026-11-20T00:00:00+00:00",
        "month": "2026-11-01T00:00:00+00:00", "all": "1970-01-01T00:00:00+00:00",
    }  # fmt: skip


def test_people_get_lines_and_a_summary(try_lines: Callable[..., Result]) -> None:
    result = try_lines(PLAY, PLAY, "", "{'a'}", {**PLAY, "event_id": "e2", "type": "skip"})
    assert result.exit_code == 0
    assert "line 1: play e1 at 2026-11-20T10:44:00Z\n    + plays " in result.output
    assert "line 2: play e1 at 2026-11-20T10:44:00Z\n    duplicate of line 1: the two count once\n" in result.output
    assert "line 4: rejected: not JSON: single quotes\n" in result.output
    assert "no counter weighs events of the type 'skip'" in result.output
    assert "\n4 records: 3 events, of which 1 are duplicates; 1 rejected\n" in result.output
    assert "plays                               1 by 1 events of 1 keys" in result.output


def test_a_condition_that_does_not_hold_is_told(try_lines: Callable[..., Result]) -> None:
    long = {"name": "long", "key": "track_id", "weights": {"play": 1}, "where": "duration_s >= 60 and country = 'DE'"}
    result = try_lines(PLAY, counters=[long])
    assert "    - long: not where duration_s >= 60 and country = 'DE'\n" in result.output
    assert result.exit_code == 1, "not one of them counts"


def test_of_several_topics_it_is_said_whose_events_these_are(try_lines: Callable[..., Result]) -> None:
    topics = [{"name": "plays", "constant_type": "play"}, {"name": "likes", "type": "action"}]
    sections: Any = {"kafka": {"topic": None}, "topics": topics}
    assert "--of plays | likes" in try_lines(PLAY, **sections).output
    of_plays = try_lines({**PLAY, "type": "x"}, options=("--of", "plays", "--summary"), **sections)
    assert "plays                               1 by 1 events" in of_plays.output
    assert "there is no topic 'skips'" in try_lines(PLAY, options=("--of", "skips"), **sections).output


def test_a_packed_file_is_unpacked_and_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    packed, torn = tmp_path / "events.jsonl.gz", tmp_path / "torn.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(PLAY).encode() * 1))
    torn.write_bytes(packed.read_bytes()[:-12])
    config = str(write_config(tmp_path / "stitch.toml"))

    def run(file: Path | str) -> Result:
        return CliRunner().invoke(main, ["--config", config, "try", str(file), "--summary"])

    assert "1 records: 1 events" in run(packed).output
    for file, why in ((torn, "cannot be read: "), ("nowhere", "nowhere cannot be read: No such file or directory")):
        assert run(file).exit_code == 2 and why in run(file).stderr
    (tmp_path / "empty.jsonl").touch()
    assert "empty.jsonl has no records to try" in run(tmp_path / "empty.jsonl").stderr
    assert "name a file of events, or --topic" in CliRunner().invoke(main, ["try"]).stderr


KINDS = {
    "occurred_at is not an instant: yesterday: at: noon": "occurred_at is not an instant",
    "not JSON: text (byte 12)": "not JSON: text",
    "not JSON: more than one value": "not JSON: more than one value",
    "duration_s is beyond 10: 11\n12": "duration_s is beyond 10",
    "event_id is missing": "event_id is missing",
}


@pytest.mark.parametrize(("reason", "kind"), KINDS.items())
def test_reasons_of_one_kind_are_one_whatever_value_they_show(reason: str, kind: str) -> None:
    assert without_value(reason) == kind


EDGES: dict[str, tuple[dict[int, tuple[int, int]], int, dict[int, int]]] = {
    "all are read alike": ({0: (0, 100), 1: (50, 150)}, 10, {0: 95, 1: 145}),
    "what one lacks another gives": ({0: (0, 2), 1: (0, 100)}, 10, {0: 0, 1: 92}),
    "fewer than asked": ({0: (3, 5), 1: (7, 7)}, 10, {0: 3}),
    "one more than partitions": ({0: (0, 9), 1: (0, 9), 2: (0, 9)}, 4, {0: 7, 1: 8, 2: 8}),
    "fewer than partitions": ({0: (0, 9), 1: (0, 9), 2: (0, 9)}, 1, {0: 8}),
}


@pytest.mark.parametrize(("edges", "most", "at"), EDGES.values(), ids=EDGES.keys())
def test_the_newest_records_are_spread_over_the_partitions(
    edges: dict[int, tuple[int, int]], most: int, at: dict[int, int]
) -> None:
    assert starts(edges, most) == at
