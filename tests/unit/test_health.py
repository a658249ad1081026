"""`stitch doctor`: each check on literal facts; tests/integration/test_commands.py asks real parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from connections.kafka_refusals import NoAnswer, Refused
from stitch.cli import main
from stitch.commands import doctor
from stitch.errors import StitchError
from stitch.health.checks import CHECKS, examined
from stitch.health.facts import Disk, Facts, LayerFacts, Level, TopicFacts
from stitch.health.page import exit_status, page
from stitch.schema import Difference
from stitch.settings import Settings

NOW = datetime(2026, 11, 27, 10, tzinfo=UTC)
COUNTERS = [{"name": "plays", "key": "track_id", "weights": {"play": 1}}]
CONFIG = {"retention.ms": str(7 * 86_400_000), "retention.bytes": "-1", "cleanup.policy": "delete"}
TOPIC = TopicFacts(CONFIG, (), {0: 3, 1: 3}, 3, None, NOW)
LAYER = LayerFacts((), 3, 3)
DIFFERENCE = Difference("the table keys is missing", ("CREATE …",))


def settings(**sections: Any) -> Settings:
    return Settings.model_validate({"counters": COUNTERS, **sections})


def facts(topic: Any = TOPIC, realtime: Any = LAYER, batch: Any = LAYER, **changed: Any) -> Facts:
    whole = Facts(settings(), NOW, {"events": topic}, {"realtime": realtime, "batch": batch}, "Java 17 in /j", "jars")
    return replace(whole, **changed)


def config(**changed: str) -> TopicFacts:
    return replace(TOPIC, config={**CONFIG, **{name.replace("_", "."): value for name, value in changed.items()}})


def layer(**changed: Any) -> LayerFacts:
    return replace(LAYER, **changed)


def disk(free: float, writable: bool = True) -> list[Disk]:
    return [Disk("lake.warehouse", "/lake", int(free * 2**30), writable)]


W, A, P = Level.WARNING, Level.AWAY, Level.PROBLEM
# What is looked at → the level, the check, what its finding begins with, and a part of the mend.
FOUND: dict[str, tuple[Facts, Level, str, str, str]] = {
    "a variable": (facts(variables={"STITCH_KAFAK": "kafak"}), W, "settings", "STITCH_KAFAK sets nothing", "unset it"),
    "no Java": (facts(java=StitchError("no Java 17 was found (x). Set JAVA_HOME")), P, "java", "no Java 17 was found",
                "Set JAVA_HOME"),
    "no jars": (facts(jars=StitchError("the jars are not in x: `fetch`")), W, "jars", "the jars are not in x",
                "`fetch`; else the first job does"),
    "a full disk": (facts(disks=disk(0.5)), P, "disk", "lake.warehouse = /lake: 0.5 GiB free", "free some"),
    "a disk that fills": (facts(disks=disk(9)), W, "disk", "lake.warehouse = /lake: 9.0 GiB free", "free some"),
    "a folder of another": (facts(disks=disk(99, False)), P, "disk", "lake.warehouse = /lake: may not be written",
                            "set lake.warehouse"),
    "no Kafka": (facts(NoAnswer("no Kafka at x: start it")), A, "topic", "events: no Kafka at x", "start it"),
    "a wrong password": (facts(Refused("Kafka refuses: the user")), P, "topic", "events: Kafka refuses", "the user"),
    "producers' stamps": (facts(replace(TOPIC, refusals=["CreateTime. Change it with\n  kafka-configs.sh"])), P,
                          "topic",
                          "CreateTime. Change it with", "kafka-configs.sh"),
    "groups": (facts(replace(TOPIC, groups="GROUP_AUTHORIZATION_FAILED")), P, "groups",
               "events: the groups stitch-… may not be used", "--group stitch --resource-pattern-type prefixed"),
    "one replica of a topic": (facts(replace(TOPIC, replicas={0: 3, 1: 1})), W, "topic replicas",
                               "events: partitions [1] have one replica on 3 brokers", "kafka-reassign-partitions.sh"),
    "a topic kept for hours": (facts(config(retention_ms="3600000")), P, "retention",
                               "events: kept for 1h, less than 2d", "retention.ms=604800000"),
    "a topic kept for a day": (facts(config(retention_ms="86400000")), W, "retention", "events: kept for 1d, ",
                               "kafka-configs.sh"),
    "a topic kept by bytes": (facts(config(retention_bytes="1000")), W, "retention", "events: retention.bytes=1000",
                              "retention.bytes=-1"),
    "a topic shorter than the lookback": (facts(settings=settings(log={"lookback": "10d"})), W, "retention",
                                          "events: kept for 7d, less than 10d", "--alter"),
    "increments of a day": (facts(settings=settings(realtime={"retention": "1d"})), W, "retention",
                            "realtime.retention is 1d", "stitch schema apply"),
    "a log shorter than the lookback": (facts(settings=settings(log={"retention": "1d"})), P, "retention",
                                        "log.retention (1d) is shorter than log.lookback (2d)", "raise log.retention"),
    "no Cassandra": (facts(realtime=NoAnswer("no Cassandra at x: start it")), A, "tables",
                     "realtime: no Cassandra at x", "start it"),
    "a table": (facts(batch=layer(differences=[DIFFERENCE])), P, "tables", "batch: the table keys is missing",
                "`stitch schema apply` fixes it"),
    "a node that is down": (facts(batch=layer(down=["10.0.0.2:9042"])), W, "replication", "batch: down: 10.0.0.2:9042",
                            "nodetool status"),
    "one replica of a layer": (facts(batch=layer(factor=1)), W, "replication", "batch: 1 replica(s) on 3 nodes",
                               "datacenter1 = 3"),
    "reads that miss writes": (
        facts(settings=settings(batch={"read_consistency": "ONE", "write_consistency": "ONE"})), P, "replication",
        "batch: of 3 replicas 1 are written and 1 read", "LOCAL_QUORUM"),
    "more than there are": (facts(settings=settings(batch={"read_consistency": "THREE"}), batch=layer(factor=2)), P,
                            "replication", "batch: THREE and LOCAL_QUORUM ask for more than 2 replicas", "= 3"),
    "a clock that is behind": (facts(batch=layer(clock=timedelta(seconds=-8))), W, "clocks",
                               "Cassandra of the batch layer is 8.0 s behind", "chrony"),
    "a clock that is far ahead": (facts(batch=layer(clock=timedelta(hours=1))), P, "clocks",
                                  "Cassandra of the batch layer is 3600.0 s ahead", "chrony"),
    "records of the future": (facts(replace(TOPIC, newest=NOW + timedelta(minutes=1))), P, "clocks",
                              "the newest record of events is stamped 60.0 s ahead", "chrony"),
    "a batch that fails": (facts(batch=layer(cutoffs={"plays": NOW - timedelta(days=8)})), W, "cutoffs",
                           "plays: published last 8 days ago, and increments of 14 days are kept: they expire before",
                           "batch_totals"),
    "a batch that failed too long": (facts(batch=layer(cutoffs={"plays": NOW - timedelta(days=15)})), P, "cutoffs",
                                     "plays: published last 15 days ago, and increments of 14 days are kept: have",
                                     "batch_totals"),
}  # fmt: skip


@pytest.mark.parametrize(("looked_at", "level", "check", "what", "mend"), FOUND.values(), ids=FOUND.keys())
def test_each_fault_is_found_with_its_mend(looked_at: Facts, level: Level, check: str, what: str, mend: str) -> None:
    bad = [one for one in examined(looked_at) if one.level != Level.OK]
    assert [(one.level, one.check) for one in bad] == [(level, check)]
    assert bad[0].what.startswith(what) and mend in bad[0].mend


def test_where_all_is_well_every_check_says_so() -> None:
    found = examined(facts(disks=disk(99), batch=layer(cutoffs={"plays": NOW - timedelta(hours=9)})))
    assert {one.level for one in found} == {Level.OK} and {one.mend for one in found} == {""}
    assert {one.check for one in found} == {
        "java", "jars", "disk", "topic", "groups", "retention", "tables", "replication", "clocks", "cutoffs",
    }  # fmt: skip
    assert page(found).endswith("\nall is well")


def test_no_check_is_left_out() -> None:
    assert len(CHECKS) == len({check.__name__ for check in CHECKS}) == 13


ENDS = {"all is well": (facts(), 0), "a warning": (facts(batch=layer(factor=1)), 0),
        "a part that is away": (facts(NoAnswer("no Kafka: start it")), 75),
        "away, and a problem": (facts(NoAnswer("no Kafka: start it"), layer(differences=[DIFFERENCE])), 1)}  # fmt: skip


@pytest.mark.parametrize(("looked_at", "status"), ENDS.values(), ids=ENDS.keys())
def test_the_exit_status_says_whether_a_person_must_look(looked_at: Facts, status: int) -> None:
    assert exit_status(examined(looked_at)) == status


def test_one_broken_client_does_not_hide_what_the_others_find(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise ZeroDivisionError("inside a driver")

    def lacks(*_: Any) -> Any:
        raise ModuleNotFoundError("No module named 'pyspark'", name="pyspark")

    monkeypatch.setattr(doctor, "_layer", fails)
    monkeypatch.setattr(doctor, "_topic", lacks)
    result = CliRunner().invoke(main, ["--config", "conf/stitch.toml", "doctor", "--json"])
    told: list[Mapping[str, str]] = json.loads(result.output)
    said = {one["what"]: one["level"] for one in told if one["level"] == "problem"}
    assert said == {
        "events: not looked at": "problem",
        "realtime: could not be looked at": "problem",
        "batch: could not be looked at": "problem",
    }
    assert result.exit_code == 1 and any(one["check"] == "disk" for one in told)


def test_a_page_has_the_mend_below_the_finding() -> None:
    shown = page(examined(facts(batch=layer(differences=[DIFFERENCE]))))
    lines = shown.splitlines()
    at = lines.index("problem  tables         batch: the table keys is missing")
    assert lines[at + 1] == " " * 24 + "→ `stitch schema apply` fixes it"
    assert lines[-1].startswith("1 of ") and lines[-1].endswith(" findings need a look")
