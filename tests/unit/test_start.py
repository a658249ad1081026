"""What docs/start.md tells a newcomer to type does what it says, as far as no Kafka is needed for it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stitch.cli import main
from stitch.settings import load_settings

START = (Path(__file__).parents[2] / "docs/start.md").read_text("utf-8")
AUTHORS = ("Ada Lovelace", "Grace Hopper", "Ada Lovelace")
COMMITS = [
    {"%H": f"{day:040x}", "%an": AUTHORS[day % 3], "%aI": f"2026-03-{day}T09:30:00+01:00"} for day in range(10, 30)
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with commits.jsonl, as the page's call of git writes it."""
    (written,) = re.findall(r"git log --format='(.*)' > commits.jsonl", START)
    lines = [re.sub(r"%\w+", lambda field, of=commit: of[field[0]], written) for commit in COMMITS]
    (tmp_path / "commits.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 0


def test_settings_are_guessed_and_every_commit_counts_for_its_author(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("init", "--sample", "commits.jsonl")
    settings = load_settings(folder / "stitch.toml")
    (counter,) = settings.counters
    assert (settings.kafka.topic, counter.name, counter.key, counter.weights) == (
        "commits", "commits", "author", {"commit": 1}
    )  # fmt: skip
    assert f'[[counters]]\nname = "{counter.name}"\nkey = "{counter.key}"' in re.sub(r"\s{2,}(#.*)?", "\n", START)
    capsys.readouterr()
    run("try", "commits.jsonl", "--summary", "--json")
    assert json.loads(capsys.readouterr().out)["summary"]["counters"]["commits"]["amount"] == len(COMMITS)


def test_every_event_is_acknowledged_by_a_broker(folder: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", START, re.MULTILINE | re.DOTALL)
    inside = code.replace('"bootstrap.servers": "127.0.0.1:19092"', '"test.mock.num.brokers": 1, "acks": "all"')
    assert inside != code
    after: dict[str, Any] = {}
    exec(inside, after)
    assert len(after["producer"]) == 0
