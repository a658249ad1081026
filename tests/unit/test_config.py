"""`stitch config`: where each value comes from, what the environment misspells, and a schema that editors can use."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner, Result

from stitch.cli import main
from stitch.commands.config import unknown_variables
from stitch.origins import MASKED, lines_of
from stitch.settings_schema import settings_schema

ROOT = Path(__file__).parents[2]
TRICKY = '''# a comment \u2028 in one line
title = "x" # [no.header]

[a]
text = """
[b]
c = 1
"""
list = [
  "one",  # name = 1
  { n = 1 },
]
d.e = { f = 1, "g.h" = 2 }

[[rows]]
name = 'first'
[rows.weights]
play = 1
[[rows]]
name = "second"

  [[rows.parts]]
  x = 1
  [[rows.parts]]
  x = 2
[rows.weights]
like = 2
'''
LINES = {
    ("title",): 2,
    ("a", "text"): 5,
    ("a", "list"): 9,
    ("a", "list", 1, "n"): 9,
    ("a", "d", "e", "f"): 13,
    ("a", "d.e.f"): 13,
    ("rows", 0, "name"): 16,
    ("rows", 0, "weights", "play"): 18,
    ("rows", 1, "name"): 20,
    ("rows", 1, "parts", 0, "x"): 23,
    ("rows", 1, "parts", 1, "x"): 25,
    ("rows", 1, "weights", "like"): 27,
}


@pytest.fixture(autouse=True)
def no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("STITCH_")]:
        monkeypatch.delenv(name)


def leaves(said: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else None
    if entries is None:
        yield path
    else:
        for name, value in entries:
            yield from leaves(value, (*path, name))


def test_each_value_is_found_on_the_line_that_sets_it() -> None:
    found = lines_of(TRICKY)
    assert {path: found.get(path) for path in LINES} == LINES


@pytest.mark.parametrize(
    "text", [TRICKY, *(file.read_text("utf-8") for file in sorted((ROOT / "conf").glob("*.toml")))]
)
def test_every_value_of_a_document_has_a_line_with_its_name(text: str) -> None:
    found, lines = lines_of(text), text.split("\n")
    for path in leaves(tomllib.loads(text)):
        assert any(str(part) in lines[found[path] - 1] for part in path), path


def run(folder: Path, *args: str, text: str = "", **environment: str) -> Result:
    file = folder / "stitch.toml"
    counter = '\n[[counters]]\nname = "plays"\nkey = "track_id"\nweights = { play = 1 }\n'
    file.write_text(text + counter, "utf-8")
    return CliRunner(env=environment).invoke(main, ["--config", str(file), "config", *args])


def shown(folder: Path, *args: str, **said: Any) -> dict[str, tuple[Any, str, Any]]:
    """setting → (value, source, where)."""
    rows = json.loads(run(folder, "show", "--json", *args, **said).output)["settings"]
    return {row["setting"]: (row["value"], row["source"], row["where"]) for row in rows}


def test_a_value_is_shown_with_its_source(tmp_path: Path) -> None:
    kafka = '[kafka]\ntopic = "plays"\njvm = { max = { poll = 1 } }\n'
    text = kafka + '[realtime]\nport = 1\n[events]\ntypes = { n = "int" }\n'
    found = shown(
        tmp_path, text=text, STITCH_REALTIME__PORT="9043", STITCH_BATCH__HOSTS='["a", "b"]',
        STITCH_EVENTS__PATHS='{"n": "a.n"}',
    )  # fmt: skip
    expected: dict[str, tuple[Any, str, Any]] = {
        "kafka.topic": ("plays", "file", "2"),
        "kafka.jvm.max.poll": ("1", "file", "3"),
        "kafka.partitions": (8, "default", None),
        "kafka.tls.ca_file": (None, "default", None),
        "realtime.port": (9043, "environment", "STITCH_REALTIME__PORT"),
        "batch.hosts": (["a", "b"], "environment", "STITCH_BATCH__HOSTS"),
        "events.types.n": ("int", "file", "7"),
        "events.paths.n": ("a.n", "environment", "STITCH_EVENTS__PATHS"),
        "streaming.ingest_window": ("1h", "default", None),
        "counters.plays.weights.play": (1, "file", "12"),
    }
    assert {name: found[name] for name in expected} == expected


def test_secrets_are_masked_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2", "utf-8")
    text = (
        '[kafka.librdkafka]\n"sasl.password" = "hunter2"\n[serving]\nrate_limit_storage = "redis://me:hunter2@host"\n'
    )
    said: dict[str, Any] = {
        "text": text, "STITCH_KAFKA__PASSWORD": "hunter2", "STITCH_BATCH__PASSWORD_FILE": str(tmp_path / "password"),
    }  # fmt: skip
    found = shown(tmp_path, **said)
    assert found["kafka.password"] == (MASKED, "environment", "STITCH_KAFKA__PASSWORD")
    assert found["batch.password"] == (MASKED, "environment", "STITCH_BATCH__PASSWORD_FILE")
    assert found["kafka.librdkafka.sasl.password"][0] == MASKED
    assert found["serving.rate_limit_storage"][0] == f"redis://{MASKED}@host"
    assert "hunter2" not in run(tmp_path, "show", **said).output


def test_a_part_of_the_settings_may_be_asked_for(tmp_path: Path) -> None:
    assert set(shown(tmp_path, "log")) == {"log.kafka", "log.trigger", "log.retention", "log.lookback", "log.grace"}
    assert set(shown(tmp_path, "--changed")) == {f"counters.plays.{name}" for name in ("name", "key", "weights.play")}
    assert "there is no setting 'kafk'; the sections are kafka, realtime" in run(tmp_path, "show", "kafk").stderr


def test_settings_that_are_right_are_said_to_be(tmp_path: Path) -> None:
    result = run(tmp_path, "check")
    assert (result.exit_code, result.output) == (0, f"{tmp_path}/stitch.toml is right: 1 counters over events\n")


def test_a_mistake_is_told_with_the_line_or_the_variable_that_makes_it(tmp_path: Path) -> None:
    result = run(tmp_path, "check", text='[kafka]\n\ntopic = "a b"\n', STITCH_SERVING__PORT="0")
    assert result.exit_code == 2
    said = [line for line in result.stderr.splitlines() if line.startswith("  ")]
    assert [(line.split(":")[0].strip(), line.rpartition("(")[2]) for line in said] == [
        ("kafka.topic", "line 3)"), ("serving.port", "STITCH_SERVING__PORT)"),
    ]  # fmt: skip


def test_a_variable_that_sets_nothing_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, "check", STITCH_KAFKA_TOPIC="x", STITCH_DEBUG="0")
    assert result.exit_code == 1
    assert "STITCH_KAFKA_TOPIC sets nothing: there is no section 'kafka_topic'; is 'kafka' meant" in result.output
    assert "STITCH_DEBUG" not in result.output


def test_no_variable_that_pages_or_deployments_name_is_taken_for_a_mistake() -> None:
    files = [ROOT / "README.md", ROOT / "Makefile", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*")]
    texts = [file.read_text("utf-8") for file in files if file.is_file() and file.suffix != ".pyc"]
    named = {name for text in texts for name in re.findall(r"(?<![A-Z_])STITCH_[A-Z]\w*(?<!_)(?!\w|\*)", text)}
    assert len(named) > 15
    assert set(unknown_variables([*named])) == {"STITCH_KAFKA_TOPIC"}, "the example of a mistake, in docs/commands.md"


@pytest.mark.parametrize("file", ["conf/stitch.toml", "conf/flights.toml"])
def test_the_files_that_ship_fit_the_schema(file: str) -> None:
    jsonschema_rs.validate(settings_schema(), tomllib.loads((ROOT / file).read_text("utf-8")))


MISTAKES = {
    "no counters": "[kafka]\ntopic = 'x'",
    "an unknown setting": "[kafka]\ntopik = 'x'",
    "an unknown section": "[kafak]",
    "no duration": "[log]\ntrigger = 'soon'",
    "a secret": "[kafka]\npassword = 'x'",
    "no resolution": "[[counters]]\nname = 'a'\nkey = 'b'\nweights = { p = 1 }\nresolution = '2h'",
}


@pytest.mark.parametrize("text", MISTAKES.values(), ids=MISTAKES.keys())
def test_what_the_settings_refuse_the_schema_refuses(text: str) -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(settings_schema(), tomllib.loads(text))


def test_the_schema_says_what_the_code_says_of_a_setting_and_knows_no_secret() -> None:
    schema = settings_schema()
    jsonschema_rs.meta.validate(schema)
    assert schema["$defs"]["LakeSettings"]["properties"]["keep_runs"]["description"].startswith(
        "the totals of how many"
    )
    assert schema["$defs"]["StreamingSettings"]["properties"]["trigger"]["default"] == "2s"
    assert "password" not in json.dumps(list(schema["$defs"]["KafkaSettings"]["properties"]))
    assert "token_secrets" not in schema["$defs"]["ServingSettings"]["properties"]
