"""The publish guard over real layers: what stops a run, night after night, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.process.errors import JobError
from jobs.sinks.cassandra import connected
from stitch.settings import load_settings
from stitch_local.producer import produce
from tests.conftest import Reader, Stack, run_in, write_config
from tests.steps import count, event, wait_for_the_window_to_end

Run = Callable[..., Any]
PLAY = {"creator_id": "c1", "country": "DE", "duration_s": 30}


def plays(night: str, tracks: dict[str, int]) -> list[bytes]:
    return [
        event(f"{night}-{track}-{n}", "play", track_id=track, **PLAY) for track, m in tracks.items() for n in range(m)
    ]


def exclude(track: str, folder: Path) -> str:
    rules = folder / f"{track}.jsonl"
    rules.write_text(f'{{"track_id": "{track}"}}\n')
    return str(rules)


@pytest.mark.slow
def test_a_bot_that_is_excluded_stops_one_night_and_no_later_one_and_what_is_excluded_next_stops_one_again(
    fresh: Stack, reader: Reader, run_job: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = reader(fresh.settings)
    strict = load_settings(write_config(tmp_path / "strict.toml", base=fresh.config_path, batch={"min_difference": 1}))

    def archived(night: str, tracks: dict[str, int], streamed: bool = True) -> None:
        produce(fresh.settings.kafka, plays(night, tracks))
        if streamed:
            run_job("streaming_counts")
        run_job("archive_events")
        wait_for_the_window_to_end(fresh)

    archived("first", {"t1": 21, "bot": 4})
    with pytest.raises(JobError, match=r"plays: 4 of 25 counted events differ, .* readers saw 25, the log gives 21"):
        run_in(strict, "batch_totals", exclude=exclude("bot", tmp_path))
    with pytest.raises(JobError, match="plays: 4 of 25 counted events differ"):  # refused is not accepted
        run_in(strict, "batch_totals")
    run_in(strict, "batch_totals", accept=True)

    archived("second", {"t1": 17, "bot": 5})
    capfd.readouterr()
    run_in(strict, "batch_totals")
    assert "excluded=5 duplicates=0 events=17" in capfd.readouterr().out
    assert [count(client, "plays", track, "batch") for track in ("t1", "bot")] == [38, 0]

    archived("third", {"t1": 3, "t2": 3, "bot": 5})
    with pytest.raises(JobError, match="plays: 3 of 11 counted events differ"):
        run_in(strict, "batch_totals", exclude=exclude("t2", tmp_path))
    run_in(strict, "batch_totals", accept=True)

    # The real-time layer is behind, so the totals are what is left to compare with: they may grow, and not lose much.
    archived("fourth", {"t1": 4, "t3": 30}, streamed=False)
    run_in(strict, "batch_totals")
    assert (
        "not compared with the real-time layer: streaming_counts has not come to the cutoff" in capfd.readouterr().out
    )
    with pytest.raises(JobError, match=r"plays: 30 of 75 events of the totals are gone, .* were 75, the log gives 45"):
        run_in(strict, "batch_totals", full=True, exclude=exclude("t3", tmp_path))
    assert [count(client, "plays", track, "batch") for track in ("t1", "t2", "t3")] == [45, 0, 30]


@pytest.mark.thorough
def test_with_nothing_to_compare_a_person_is_asked(
    fresh: Stack, reader: Reader, run_job: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    strict = load_settings(write_config(tmp_path / "strict.toml", base=fresh.config_path, batch={"min_difference": 1}))
    produce(fresh.settings.kafka, plays("first", {"t1": 5}))
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    with pytest.raises(JobError, match=r"plays: 5 events, and nothing to compare them with"):
        run_in(strict, "batch_totals")
    run_in(strict, "batch_totals", accept=True)
    assert count(reader(fresh.settings), "plays", "t1", "batch") == 5


@pytest.mark.slow
def test_a_counter_that_is_refused_stays_where_it_was_while_the_others_go_on(
    fresh: Stack, reader: Reader, run_job: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = reader(fresh.settings)
    strict = load_settings(write_config(tmp_path / "strict.toml", base=fresh.config_path, batch={"min_difference": 1}))

    def archived(night: str, tracks: dict[str, int], likes: int, streamed: bool = True) -> None:
        liked = [event(f"{night}-like-{n}", "like", track_id="t1") for n in range(likes)]
        produce(fresh.settings.kafka, plays(night, tracks) + liked)
        if streamed:
            run_job("streaming_counts")
        run_job("archive_events")
        wait_for_the_window_to_end(fresh)

    def counted(counter: str, layer: str = "merged") -> list[int]:
        return [count(client, counter, track, layer) for track in ("t1", "bot")]

    def cutoffs() -> tuple[str, str]:
        known = client.get("/v1/status").json["cutoffs"]
        return known["plays"], known["likes"]

    def charts_of() -> tuple[str, ...]:
        """The cutoffs of the charts, which plays have."""
        with connected(strict.batch, "batch") as cassandra:
            return tuple({f"{row.cutoff:%FT%TZ}" for row in cassandra.execute("SELECT cutoff FROM ranked_keys")})

    archived("first", {"t1": 20, "bot": 1}, 10)
    run_in(strict, "batch_totals", accept=True)
    first, _ = cutoffs()

    # The bot's plays are excluded: a person must look, and likes do not wait for him.
    archived("second", {"t1": 10, "bot": 5}, 7)
    capfd.readouterr()
    with pytest.raises(JobError, match="left at the cutoff that was published before") as refused:
        run_in(strict, "batch_totals", exclude=exclude("bot", tmp_path))
    assert " plays: 5 of 15 counted events differ" in str(refused.value) and " likes: " not in str(refused.value)
    assert f"needs its increments since {first}, which begin to expire" in str(refused.value).replace(
        "Readers need", "needs"
    )
    assert "batch_totals published" in capfd.readouterr().out
    (plays_at, likes_at) = cutoffs()
    assert plays_at == first < likes_at and charts_of() == (first,)
    assert (counted("plays"), counted("likes")) == ([30, 6], [17, 0])
    assert (counted("plays", "batch"), counted("likes", "batch")) == ([20, 1], [17, 0])
    run = client.get("/v1/status").json["runs"][0]
    assert (run["state"], run["cutoff"], run["left"]) == ("published", likes_at, 4)

    # Lost rows are loaded again, those of a counter that was left behind as of its own cutoff.
    with connected(strict.batch, "batch") as cassandra:
        for table in ("totals", "member_totals", "ranked_keys", "cutoffs"):
            cassandra.execute(f"TRUNCATE {table}")
    run_in(strict, "batch_totals", reload=True)
    assert cutoffs() == (plays_at, likes_at) and charts_of() == (first,)
    assert (counted("plays"), counted("likes")) == ([30, 6], [17, 0])

    # The next night compares the same again, and not as a smaller part of more: it is not accepted by waiting.
    archived("third", {"t1": 80, "bot": 0}, 1)
    with pytest.raises(JobError, match=" plays: 5 of 15 counted events differ"):
        run_in(strict, "batch_totals")
    assert cutoffs()[0] == first and (counted("plays"), counted("likes", "batch")) == ([110, 6], [18, 0])
    with pytest.raises(JobError, match=r"(?s)nothing was loaded, .*  plays: 5 of 15"):
        run_in(strict, "batch_totals", cutoff=datetime.fromisoformat(cutoffs()[1]))  # there is nothing else to publish

    # Nor by there being nothing to compare with, nor when another counter is counted again.
    archived("fourth", {"t1": 1, "bot": 0}, 2, streamed=False)
    with pytest.raises(JobError, match=" plays: it was refused before, and nothing tells whether it is right now"):
        run_in(strict, "batch_totals")
    run_job("streaming_counts")
    run_in(strict, "batch_totals", full=True, counter="likes", accept=True)
    assert (counted("likes", "batch"), counted("plays", "batch")) == ([20, 0], [20, 1])
    run_in(strict, "batch_totals", accept=True)
    assert (counted("plays", "batch"), counted("likes", "batch")) == ([111, 1], [20, 0])
    assert len(set(cutoffs())) == 1

    archived("fifth", {"t1": 1, "bot": 1}, 2)
    capfd.readouterr()
    run_in(strict, "batch_totals")
    assert "run=incremental records=" in capfd.readouterr().out
    assert (counted("plays", "batch"), counted("likes", "batch")) == ([112, 1], [22, 0])
    run_in(strict, "batch_totals", full=True, accept=True)  # the bot out of all history
    assert counted("plays", "batch") == [112, 0]
    audited = run_job("audit_counts")
    assert audited["right"], audited


@pytest.mark.thorough
def test_a_counter_that_is_counted_again_and_refused_holds_back_the_others_until_a_person_looked(
    fresh: Stack, reader: Reader, run_job: Run, tmp_path: Path
) -> None:
    client = reader(fresh.settings)
    produce(fresh.settings.kafka, plays("first", {"t1": 20, "t2": 5}))
    run_job("streaming_counts")
    run_job("archive_events")
    wait_for_the_window_to_end(fresh)
    run_job("batch_totals", accept=True)
    changed = {"base": fresh.config_path, "batch": {"min_difference": 1}}
    strict = load_settings(write_config(tmp_path / "strict.toml", **changed))
    asked = {"full": True, "counter": "plays", "exclude": exclude("t2", tmp_path)}
    produce(fresh.settings.kafka, plays("second", {"t1": 2}))
    run_job("streaming_counts")
    run_job("archive_events")
    cutoff = wait_for_the_window_to_end(fresh)
    for _ in range(2):  # its rows are others throughout, so nothing is published without it
        with pytest.raises(JobError, match=r"nothing was loaded, (?s:.*) plays: .* counted events differ"):
            run_in(strict, "batch_totals", cutoff=cutoff, **asked)
        assert [count(client, "plays", track, "batch") for track in ("t1", "t2")] == [20, 5]
        assert count(client, "creator_plays", "c1", "batch") == 25
    run_in(strict, "batch_totals", cutoff=cutoff, accept=True, **asked)
    assert [count(client, "plays", track, "batch") for track in ("t1", "t2")] == [22, 0]
    assert count(client, "creator_plays", "c1", "batch") == 27
