"""Settings: every mistake at once, with its path; the environment over the file; secrets from the environment alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, SecretStr

from stitch.clusters import TlsSettings
from stitch.paths import is_path, with_paths_resolved
from stitch.settings import Settings, SettingsError, load_settings

SOURCE = '[[sources]]\nname = "history"\n'
PLAYS = '[[counters]]\nname = "plays"\nkey = "track_id"\nweights = { play = 1 }\n'
TOPICS = '[[topics]]\nname = "plays"\n[[topics]]\nname = "likes"\nconstant_type = "like"\n'
FILES = '[[sources]]\nname = "old"\npath = "in"\nformat = "json"\n'


@pytest.fixture(autouse=True)
def no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("STITCH_")]:
        monkeypatch.delenv(name)


def write(folder: Path, text: str) -> Path:
    file = folder / "stitch.toml"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize("file", ["conf/stitch.toml", "conf/flights.toml"])
def test_the_files_that_ship_are_valid(file: str) -> None:
    assert load_settings(file).counters


def test_a_file_of_one_counter_is_enough(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, PLAYS))
    assert settings.counter("plays").key == "track_id"
    assert settings.streaming.ingest_window == timedelta(hours=1)


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STITCH_REALTIME__PORT", "9043")
    monkeypatch.setenv("STITCH_REALTIME__PASSWORD", "hunter2")
    monkeypatch.setenv("STITCH_STREAMING__INGEST_WINDOW", "1m")
    settings = load_settings(write(tmp_path, "[realtime]\nport = 1\n" + PLAYS))
    assert (settings.realtime.port, settings.realtime.password) == (9043, SecretStr("hunter2"))
    assert "hunter2" not in str(settings)
    assert settings.streaming.ingest_window == timedelta(minutes=1)


def test_a_secret_may_come_from_a_file_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("from a file\n", "utf-8")
    monkeypatch.setenv("STITCH_BATCH__PASSWORD_FILE", str(tmp_path / "password"))
    assert load_settings(write(tmp_path, PLAYS)).batch.password == SecretStr("from a file")
    monkeypatch.setenv("STITCH_BATCH__PASSWORD_FILE", str(tmp_path / "nothing"))
    with pytest.raises(SettingsError, match=r"STITCH_BATCH__PASSWORD_FILE cannot be read: .*No such file"):
        load_settings(write(tmp_path, PLAYS))


def test_the_file_is_named_by_the_environment_where_no_option_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STITCH_CONFIG", str(write(tmp_path, PLAYS)))
    assert [counter.name for counter in load_settings().counters] == ["plays"]


def test_every_mistake_is_in_one_message_with_its_path(tmp_path: Path) -> None:
    text = '[kafka]\ntopic = "a b"\nbroker = "x"\n[serving]\nport = 0\n[streaming]\nwatermark = "soon"\n'
    with pytest.raises(SettingsError) as error:
        load_settings(write(tmp_path, text + PLAYS.replace("1", '"Bad Name"')))
    message = str(error.value)
    for path in (
        "kafka.topic:",
        "kafka.broker: unknown setting",
        "serving.port:",
        "streaming.watermark:",
        "counters.0.",
    ):
        assert path in message


MISTAKES = {
    "no counters": ("", "counters"),
    "a window that does not divide an hour": ('[streaming]\ningest_window = "7m"\n' + PLAYS, "must divide an hour"),
    "two counters of one name": (PLAYS + PLAYS, "named more than once: plays"),
    "a summed field without a type": (PLAYS.replace("1", '"duration_s"'), "events.types must say it is an int"),
    "a password in the file": (
        '[batch]\npassword = "x"\n' + PLAYS,
        "set STITCH_BATCH__PASSWORD (or STITCH_BATCH__PASSWORD_FILE) instead",
    ),
    "a path that ends within another": (
        '[events]\npaths = { track_id = "track", label = "track.label" }\n'
        + PLAYS.replace('key = "track_id"', 'key = "track_id"\nmember = "label"'),
        "'track.label' lies within 'track'",
    ),
    "a type for what is the event's own": ('[events]\ntypes = { type = "int" }\n' + PLAYS, "'type' is an event's own"),
    "fields that differ by case only": (
        PLAYS + "where = \"Track_ID = 't1'\"\n",
        "'Track_ID' and 'track_id' differ by case only",
    ),
    "an own field in another case": (PLAYS + "where = \"TYPE = 'play'\"\n", "'TYPE' and 'type' differ by case only"),
    "a path that is none": ('[events]\npaths = { track_id = "a..b" }\n' + PLAYS, "events.paths.track_id:"),
    "a weight beyond what an event may add": (PLAYS.replace("1", "2000000000000"), "is beyond ±events.max_amount"),
    "an identity of nothing": ("[events]\nidentity = []\n" + PLAYS, "events.identity:"),
    "an unknown unit": ('[events]\nepoch = "minutes"\n' + PLAYS, "events.epoch:"),
    "a duration of ages": ('[events]\nmax_past = "99999999999999d"\n' + PLAYS, "is longer than 10,000 years"),
    "a condition of chance": (PLAYS + 'where = "rand() < 0.1"\n', "where: rand answers otherwise on each replay"),
    "a keyspace that is no identifier": ('[batch]\nkeyspace = "x; DROP"\n' + PLAYS, "batch.keyspace:"),
    "a URI where Python opens a file": (
        '[local]\nfolder = "hdfs://nn/x"\n' + PLAYS,
        "local.folder: hdfs://nn/x: must be",
    ),
    "a source of nothing": (SOURCE + PLAYS, "sources.0: path or table is missing: say `path` and `format` of files"),
    "a source of both": (SOURCE + 'path = "in"\ntable = "a.b.c"\n' + PLAYS, "sources.0: path and table exclude each"),
    "files of no format": (SOURCE + 'path = "in"\n' + PLAYS, 'sources.0: format is missing: "json" (lines) or "parq'),
    "a table of a format": (
        SOURCE + 'table = "a.b.c"\nformat = "parquet"\n' + PLAYS,
        "sources.0: format: belongs to path; Spark knows what a table is made of",
    ),
    "a table by its folders": (
        SOURCE + 'table = "a.b.c"\ningest_time = "folder:day"\n' + PLAYS,
        "sources.0: ingest_time: folder: belongs to path; the partitions of a table are columns: say column:NAME",
    ),
    "files whose deletion is ignored": (
        SOURCE + 'path = "in"\nformat = "json"\nignore_deletes = true\n' + PLAYS,
        "sources.0: ignore_deletes: belongs to table",
    ),
    "not TOML": ("[", "is not valid TOML"),
    "two topics of one name": (TOPICS + '[[topics]]\nname = "likes"\n' + PLAYS, "topics: named more than once: likes"),
    "a topic beside several": ('[kafka]\ntopic = "events"\n' + TOPICS + PLAYS, "kafka.topic: is of the only topic"),
    "no topic that is read": ('[[topics]]\nname = "plays"\nread = false\n' + PLAYS, "topics: none is read"),
    "an unknown setting of a topic": (TOPICS + 'types = { a = "int" }\n' + PLAYS, "topics.1.types: unknown setting"),
    "a path of a topic that nobody reads": (
        TOPICS + 'paths = { trak_id = "t" }\n' + PLAYS,
        "topics.likes.paths: 'trak_id' is no field: no counter reads it",
    ),
    "a path of a topic within another": (
        TOPICS + 'paths = { track_id = "id.track" }\nevent_id = "id"\n' + PLAYS,
        "topics.likes.paths: 'id.track' lies within 'id'",
    ),
    "a type that is a path and constant": (TOPICS + 'type = "kind"\n' + PLAYS, "topics.1: type: is not read where"),
    "a type of all events that is a path and constant": (
        '[events]\ntype = "kind"\nconstant_type = "play"\n' + PLAYS,
        "events: type: is not read where constant_type is set",
    ),
    "a type that no topic has": (
        '[[topics]]\nname = "likes"\nconstant_type = "like"\n' + PLAYS,
        "counters.plays.weights: no topic has events of these types",
    ),
    "a source of nobody's events": (TOPICS + FILES + PLAYS, "sources.old: topic: say whose events these are: one of"),
    "a source of the events of no topic": (FILES + 'topic = "x"\n' + PLAYS, "sources.old: topic: there is no 'x'"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(write(tmp_path, text))
    assert message in str(error.value)


def test_a_missing_file_is_a_message_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no settings file at .*--config or STITCH_CONFIG"):
        load_settings(tmp_path / "none.toml")


def test_an_environment_value_that_is_not_json_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STITCH_REALTIME__HOSTS", "a,b")
    with pytest.raises(SettingsError):
        load_settings(write(tmp_path, PLAYS))


def paths_of(settings: BaseModel) -> dict[str, str]:
    """Every setting that is marked as a path, by its name."""
    found: dict[str, str] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            found |= {f"{name}.{inner}": path for inner, path in paths_of(value).items()}
        elif is_path(field) and value is not None:
            found[name] = value
    return found


def test_a_relative_path_is_meant_from_the_settings_file_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    text = '[lake]\nwarehouse = "s3a://bucket/lake"\n[batch.tls]\nca_file = "../ca.pem"\n'
    write(tmp_path / "etc", text + PLAYS)
    monkeypatch.setenv("STITCH_STREAMING__CHECKPOINT", "checkpoints/s")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("STITCH_LOCAL__FOLDER", "~/stack")
    monkeypatch.setenv("STITCH_BATCH__PASSWORD_FILE", "password")
    (tmp_path / "etc/password").write_text("secret", "utf-8")
    for directory, file in ((tmp_path, "etc/stitch.toml"), (tmp_path / "etc", "stitch.toml"), (Path("/"), None)):
        monkeypatch.chdir(directory)
        settings = load_settings(file or tmp_path / "etc/stitch.toml")
        assert paths_of(settings) == {
            "batch.tls.ca_file": f"{tmp_path}/ca.pem",
            "lake.warehouse": "s3a://bucket/lake",
            "streaming.checkpoint": f"{tmp_path}/etc/checkpoints/s",
            "local.folder": "/home/me/stack",
        }
        assert settings.batch.password == SecretStr("secret")


def test_a_settings_file_that_is_a_link_is_meant_where_the_link_is(tmp_path: Path) -> None:
    (tmp_path / "version-1").mkdir()
    (tmp_path / "stitch.toml").symlink_to(write(tmp_path / "version-1", PLAYS))
    assert load_settings(tmp_path / "stitch.toml").lake.warehouse == f"{tmp_path}/.local/lake"


def test_certificates_are_paths_too(tmp_path: Path) -> None:
    said = TlsSettings(ca_file="ca.pem", certificate_file="own.pem", key_file="/keys/own.pem")
    tls = with_paths_resolved(said, tmp_path)
    found = (tls.ca_file, tls.certificate_file, tls.key_file)
    assert found == (f"{tmp_path}/ca.pem", f"{tmp_path}/own.pem", "/keys/own.pem")


def sections(of: type[BaseModel] = Settings) -> Iterator[type[BaseModel]]:
    """Every table of the settings, TlsSettings with or without a table that uses it."""
    yield from {TlsSettings} if of is Settings else ()
    yield of
    for field in of.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from sections(kind)


def test_no_setting_that_sounds_like_a_path_is_forgotten() -> None:
    sounds = re.compile(r"(^|_)(path|file|folder|directory|checkpoint|bundle|keytab|truststore|keystore)$")
    named = {(section, name): field for section in sections() for name, field in section.model_fields.items()}
    assert [
        name
        for name, field in named.items()
        if sounds.search(name[1]) and "str" in str(field.annotation) and not is_path(field)
    ] == []
    assert sum(is_path(field) for field in named.values()) >= 9


def test_the_shipped_files_keep_everything_in_the_projects_own_folder() -> None:
    root = Path(__file__).parents[2]
    for file in ("conf/stitch.toml", "conf/flights.toml", "bench/bench.toml"):
        assert [
            path for path in paths_of(load_settings(root / file)).values() if not path.startswith(f"{root}/.local")
        ] == []


def test_the_default_file_is_named_by_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=rf"no settings file in {tmp_path} \(stitch\.toml or .*stitch init"):
        load_settings()
    (tmp_path / "conf/stitch.toml").mkdir(parents=True)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings()


def test_fields_hold_every_field_a_counter_reads_with_its_path_and_type(tmp_path: Path) -> None:
    text = '[events]\npaths = { country = "geo.country" }\ntypes = { duration_s = "int" }\n'
    counter = PLAYS.replace("1", '"duration_s"') + "where = \"country <> 'T1'\"\n"
    assert load_settings(write(tmp_path, text + counter)).fields == {
        "country": ("geo.country", "string"),
        "duration_s": ("duration_s", "int"),
        "track_id": ("track_id", "string"),
    }


@pytest.mark.parametrize(
    ("said", "mistake"),
    [
        ("{ datacenter1 = 3 }", "realtime.replication.class: Field required"),
        ('{ class = "LocalStrategy" }', "realtime.replication.class: Input should be 'NetworkTopologyStrategy' or"),
        (
            '{ class = "NetworkTopologyStrategy", datacenter1 = 0 }',
            "realtime.replication.datacenter1: Input should be greater than or equal to 1",
        ),
        (
            '{ class = "NetworkTopologyStrategy", datacenter1 = "3/1" }',
            "realtime.replication.datacenter1: Input should be a valid integer",
        ),
        ('{ class = "NetworkTopologyStrategy" }', "realtime.replication: NetworkTopologyStrategy takes a number of"),
        (
            '{ class = "NetworkTopologyStrategy", replication_factor = 3 }',
            "realtime.replication: NetworkTopologyStrategy takes a number of replicas for each datacenter",
        ),
        (
            '{ class = "SimpleStrategy", datacenter1 = 3 }',
            "realtime.replication: SimpleStrategy takes replication_factor",
        ),
        (
            '{ class = "NetworkTopologyStrategy", elsewhere = 3 }',
            "realtime: replication: no replicas in 'datacenter1', the datacenter that is written and read",
        ),
    ],
)
def test_a_replication_that_cannot_be_is_one_line(tmp_path: Path, said: str, mistake: str) -> None:
    with pytest.raises(SettingsError) as told:
        load_settings(write(tmp_path, f"[realtime]\nreplication = {said}\n" + PLAYS))
    lines = str(told.value).splitlines()
    assert len(lines) == 2 and lines[1].startswith(f"  {mistake}")


def test_a_replication_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STITCH_BATCH__REPLICATION", '{"class": "SimpleStrategy", "replication_factor": 2}')
    replication = load_settings(write(tmp_path, PLAYS)).batch.replication
    assert replication and replication.factors == {"replication_factor": 2}


def test_fields_may_be_named_like_columns_and_lie_at_paths_that_differ_by_case(tmp_path: Path) -> None:
    text = (
        '[events]\noccurred_at = "timestamp"\nidentity = ["order_id", "type"]\n'
        'types = { timestamp = "int" }\npaths = { a = "Track", b = "track" }\n'
    )
    settings = load_settings(write(tmp_path, text + PLAYS.replace("track_id", "ingest_window")))
    assert sorted(settings.fields) == ["a", "b", "ingest_window", "order_id", "timestamp"]


def test_the_decoder_has_another_name_as_soon_as_anything_is_decoded_otherwise(tmp_path: Path) -> None:
    changes = ["", 'identity = ["type"]', 'epoch = "ms"', 'max_past = "1d"', 'max_future = "2d"', "max_text = 9",
               'types = { x = "int" }', 'paths = { track_id = "t" }', 'event_id = "id"']  # fmt: skip
    names = {load_settings(write(tmp_path, f"[events]\n{change}\n" + PLAYS)).decoder for change in changes}
    assert len(names) == len(changes)


def test_each_topic_has_settings_of_its_own_and_what_it_does_not_say_is_as_in_events(tmp_path: Path) -> None:
    text = (
        '[events]\noccurred_at = "at"\nconstant_type = "play"\npaths = { track_id = "track.id" }\n'
        '[[topics]]\nname = "plays"\n'
        '[[topics]]\nname = "likes"\ntype = "action"\nevent_id = "id"\nepoch = "ms"\npaths = { track_id = "t" }\n'
        '[[topics]]\nname = "old"\nread = false\noccurred_at = "then"\nconstant_type = "skip"\n'
    )
    settings = load_settings(write(tmp_path, text + PLAYS))
    rules = {name: view.rules for name, view in settings.by_topic.items()}
    said = {name: (r.event_id, r.type, r.constant_type, r.occurred_at, r.epoch) for name, r in rules.items()}
    assert said == {
        "plays": ("event_id", "", "play", "at", "auto"),
        "likes": ("id", "action", None, "at", "ms"),
        "old": ("event_id", "", "skip", "then", "auto"),
    }
    paths = {name: [(field.name, field.path) for field in of_it.fields] for name, of_it in rules.items()}
    assert paths == {
        "plays": [("track_id", "track.id")],
        "likes": [("track_id", "t")],
        "old": [("track_id", "track.id")],
    }
    assert [view.kafka.topic for view in settings.topics_read.values()] == ["plays", "likes"]
    assert settings.identity == ["event_id", "_topic"]
