"""`stitch init --sample`: settings guessed from events that are right, count, and can be corrected."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st

from stitch.cli import main
from stitch.sample.guess import NoGuess, guess
from stitch.sample.profile import profile
from stitch.sample.written import settings_text, toml
from stitch.settings import Settings

NOW = 1_795_000_000_000_000  # 2026-11-18, in µs


def hour(n: int) -> str:
    return f"2026-11-{1 + n // 24:02}T{n % 24:02}:00:00Z"


GIT = [
    {"commit": f"{n:040x}", "author": {"name": ["ann", "bob", "cy"][n % 3], "email": "x"}, "date": hour(n),
     "subject": f"Do {n} things", "insertions": n % 7, "files": ["a"]} for n in range(40)
]  # fmt: skip
MUSIC = [
    {"id": n, "eventType": ["play", "play", "like", "unlike"][n % 4], "ts": 1_790_000_000_000 + n * 1000,
     "track": {"id": f"t{n % 5}"}, "user": {"id": f"u{n % 9}", "country": ["DE", "FR"][n % 2]},
     "duration_s": 30 + n % 3, "volume": 0.5} for n in range(60)
]  # fmt: skip
WEB = [
    {"time": f"2026-11-18 10:{n % 60:02}:00", "method": ["GET", "POST"][n % 2], "path": f"/p{n % 6}", "status": 200,
     "bytes": 100 + n % 11, "amount": 1.5} for n in range(60)
]  # fmt: skip


def guessed(events: list[Any], name: str = "events") -> tuple[dict[str, Any], Settings]:
    """(the file as TOML reads it, the settings)."""
    found = guess(profile(json.dumps(event).encode() for event in events), name, NOW)
    said = tomllib.loads(settings_text(found, f"{name}.jsonl", name))
    return said, Settings.model_validate(said)


def counters(said: dict[str, Any]) -> dict[str, tuple[str, str | None, dict[str, Any]]]:
    return {one["name"]: (one["key"], one.get("member"), one["weights"]) for one in said["counters"]}


def test_a_git_history_counts_commits_by_author() -> None:
    said, _ = guessed(GIT, "commits")
    assert said["events"] == {
        "occurred_at": "date", "event_id": "commit", "constant_type": "commit",
        "paths": {"author_name": "author.name"}, "types": {"insertions": "int"},
    }  # fmt: skip
    assert counters(said) == {
        "commits": ("author_name", None, {"commit": 1}),
        "insertions_total": ("author_name", None, {"commit": "insertions"}),
    }
    assert (said["kafka"]["topic"], said["realtime"]["keyspace"]) == ("commits", "commits_realtime")


def test_kinds_of_events_are_told_apart_and_one_takes_another_back() -> None:
    said, _ = guessed(MUSIC)
    assert said["events"] == {
        "occurred_at": "ts", "event_id": "id", "type": "eventType",
        "paths": {"track_id": "track.id", "user_id": "user.id", "country": "user.country"},
        "types": {"duration_s": "int"},
    }  # fmt: skip
    assert counters(said) == {
        "plays": ("track_id", "user_id", {"play": 1}),
        "likes": ("track_id", "user_id", {"like": 1, "unlike": -1}),
        "plays_by_user_id": ("user_id", None, {"play": 1}),
        "plays_by_country": ("country", None, {"play": 1}),
        "duration_s_total": ("track_id", None, dict.fromkeys(["play", "like", "unlike"], "duration_s")),
    }
    assert said["serving"]["names"] == {"country": {"kind": "country"}}


def test_without_an_id_the_fields_that_tell_events_apart_are_the_identity() -> None:
    found = guess(profile(json.dumps(event).encode() for event in WEB), "access", NOW)
    assert found.event_id is None and found.identity[0] == "occurred_at"
    said, settings = guessed(WEB, "access")
    assert settings.events.identity == found.identity and said["events"]["constant_type"] == "access"
    assert "amount: numbers with fractions cannot be summed" in " ".join(found.notes)
    assert [one.name for one in settings.counters][:1] == ["access"]


NOTES: dict[str, tuple[list[Any], str]] = {
    "old events": ([{**event, "date": hour(n).replace("2026", "1999")} for n, event in enumerate(GIT)], "max_past"),
    "events of the future": ([*GIT, {**GIT[0], "commit": "x", "date": "2027-01-01"}], "some events are of the future"),
    "duplicates": ([{"at": hour(1), "user": "a"}] * 4 + [{"at": hour(2), "user": "b"}] * 2, "4 of 6 records would be"),
}


@pytest.mark.parametrize(("events", "note"), NOTES.values(), ids=NOTES.keys())
def test_what_a_person_should_know_is_said(events: list[Any], note: str) -> None:
    found = guess(profile(json.dumps(event).encode() for event in events), "e", NOW)
    assert note in " ".join(found.notes)
    Settings.model_validate(tomllib.loads(settings_text(found, "e", "e")))


REFUSED: dict[str, tuple[list[bytes], str]] = {
    "nothing": ([b"", b"\n"], "the sample has no events; it must have one JSON object in each line"),
    "no JSON": ([b"a,b\n", b"1,2\n"], "the sample has no events: 2 lines are no JSON objects"),
    "no instant": ([b'{"id": 1, "a": "x"}'] * 3, "no field of the sample is an instant"),
    "nothing that repeats": ([b'{"id": "%d", "at": "2026-11-01"}' % n for n in range(9)], "that come again and again"),
    "one of all": ([b'{"id": "%d", "at": "2026-11-%02d", "by": "A"}' % (n, n+1) for n in range(9)], "by is the same"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_sample_that_does_not_show_what_events_are_is_refused(lines: list[bytes], why: str) -> None:
    with pytest.raises(NoGuess, match=why):
        guess(profile(lines), "e", NOW)


names = st.text(max_size=6) | st.sampled_from(
    ["id", "type", "ts", "occurred_at", "event_id", "a.b", 'q"', "é", "user", "User", "name", "x" * 70, "count", "9"]
)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
leaves |= st.sampled_from([hour(1), hour(2), "a", "b", "play", "unplay", 1_790_000_000, "DE", "\x7f", "\u2028", "'"])
values = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(inner, max_size=2))


@given(
    st.lists(st.dictionaries(names, values, max_size=6), min_size=1, max_size=5),
    st.text(max_size=12),
)
@example([{"event_id": {"ID": ""}}], "")
def test_whatever_the_events_are_the_file_is_right_and_counts_or_it_is_refused(kinds: list[Any], name: str) -> None:
    events = [{**kinds[n % len(kinds)], "ts": hour(n), "user": f"u{n % 2}"} for n in range(8)]
    lines = [json.dumps(event).encode() for event in events]
    try:
        found = guess(profile(lines), name, NOW)
    except NoGuess:
        return
    settings = Settings.model_validate(tomllib.loads(settings_text(found, name, "events")))
    assert settings.counters and all(len(one.name) <= 48 for one in settings.counters)


@given(values)
def test_a_value_is_written_as_toml_reads_it(value: Any) -> None:
    def without_null(one: Any) -> Any:
        if isinstance(one, dict):
            return {name: without_null(inner) for name, inner in one.items() if inner is not None}
        return [without_null(inner) for inner in one if inner is not None] if isinstance(one, list) else one

    value = without_null(value)
    if value is not None and not (isinstance(value, int) and abs(value) >= 2**63):
        assert tomllib.loads(f"it = {toml(value)}")["it"] == value


def init(folder: Path, monkeypatch: pytest.MonkeyPatch, events: list[Any], *args: str) -> Result:
    monkeypatch.chdir(folder)
    (folder / "commits.jsonl").write_text("\n".join(map(json.dumps, events)), "utf-8")
    return CliRunner().invoke(main, ["init", "--sample", "commits.jsonl", *args])


def test_the_command_writes_the_file_says_what_it_guessed_and_tries_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = init(tmp_path, monkeypatch, GIT, "--topic", "history")
    assert result.exit_code == 0
    assert "  occurred_at  date: an instant in 40 of 40 records\n" in result.output
    assert "  counter      commits by author_name\n" in result.output
    assert "stitch try commits.jsonl: 40 records: 40 events, of which 0 are duplicates; 0 rejected\n" in result.output
    text = (tmp_path / "stitch.toml").read_text("utf-8")
    assert 'topic = "history"\n' in text and 'event_id = "commit"               # different in each of 40' in text
    assert max(map(len, text.splitlines())) <= 120
    again = init(tmp_path, monkeypatch, GIT)
    assert again.exit_code == 2 and "stitch.toml is there already" in again.stderr


def test_a_sample_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["init", "--sample", "none.jsonl"])
    assert result.exit_code == 2 and "none.jsonl cannot be read: No such file" in result.stderr
    assert not (tmp_path / "stitch.toml").exists()
