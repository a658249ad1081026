"""The publish guard over real layers: what stops a run, night after night, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import JobError
from stitch.local.producer import produce
from stitch.settings import load_settings
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
