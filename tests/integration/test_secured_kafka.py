"""The jobs on a Kafka that asks who one is: each mechanism, what is said where it refuses, and where secrets must not
be."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic
from pydantic import SecretStr

from jobs.archive_events import archive
from jobs.process.errors import JobError
from jobs.process.spark import session
from jobs.sources.topic import check_topic, edges, read_topics
from jobs.streaming.queries import Stop
from stitch.settings import load_settings
from stitch_local.producer import produce
from stitch_local.topic import create_topics
from tests.certificates import Authority
from tests.conftest import BASE_CONFIG, Reader, Stack, free_ports, run_in, write_config
from tests.logs import lake
from tests.secured_kafka import MARK, SECRET, USER, SecuredKafka, secured_kafka
from tests.steps import count, event, wait_for_line, wait_for_the_window_to_end

Asked = Callable[..., Stack]
NEEDED = (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS, AclOperation.READ)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("secured")) as kafka:
        yield kafka


def by_sasl(kafka: SecuredKafka, mechanism: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": f"127.0.0.1:{kafka.sasl_port}",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "username": USER,
        "tls": {"ca_file": str(kafka.ca_file)},
    }


def ways(kafka: SecuredKafka) -> dict[str, dict[str, Any]]:
    """The settings of `[kafka]` by the way in which the user shows who he is."""
    oauth = {"token_endpoint": kafka.token_endpoint, "client_id": USER, "scope": "kafka"}
    client = {"certificate_file": str(kafka.client.certificate_file), "key_file": str(kafka.client.key_file)}
    return {
        "SCRAM": by_sasl(kafka, "SCRAM-SHA-512"),
        "PLAIN": by_sasl(kafka, "PLAIN"),
        "OAUTHBEARER": {k: v for k, v in by_sasl(kafka, "OAUTHBEARER").items() if k != "username"} | oauth,
        "mTLS": {
            "bootstrap_servers": f"127.0.0.1:{kafka.mtls_port}",
            "security_protocol": "SSL",
            "tls": {"ca_file": str(kafka.ca_file), **client},
        },
    }


@pytest.fixture
def asked(secured: SecuredKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Stack]:
    """asked("SCRAM", topic="t") is a settings file of the secured Kafka, and the secrets are in the environment."""
    monkeypatch.setenv("STITCH_KAFKA__PASSWORD", SECRET)
    monkeypatch.setenv("STITCH_KAFKA__CLIENT_SECRET", MARK)

    def stack(way: str, base: Path = BASE_CONFIG, **kafka: Any) -> Stack:
        config = write_config(tmp_path / "secured.toml", base, kafka=ways(secured)[way] | kafka)
        return Stack(load_settings(config), config)

    return stack


@pytest.fixture
def topic(secured: SecuredKafka) -> str:
    """A topic of 20 likes that the user may read."""
    plain = load_settings(BASE_CONFIG).model_copy(
        update={"kafka": secured.plain.model_copy(update={"topic": f"events_{uuid.uuid4().hex[:12]}"})}
    )
    create_topics(plain)
    secured.grant(plain.kafka.topic, *NEEDED)
    secured.grant_group("stitch")
    produce(plain.kafka, [event(f"e{n}", "like", track_id="t1") for n in range(20)])
    return plain.kafka.topic


def group_offsets(admin: AdminClient, group: str) -> dict[int, int]:
    held = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(10)
    return {tp.partition: tp.offset for tp in held.topic_partitions}


@pytest.mark.slow
def test_over_sasl_and_tls_all_is_counted_and_lag_tools_see_how_far(
    asked: Asked, secured: SecuredKafka, topic: str, fresh: Stack, spark: Any, reader: Reader, cassandra: Any
) -> None:
    stack = asked("SCRAM", fresh.config_path, topic=topic)
    for job in ("streaming_counts", "archive_events"):
        run_in(stack.settings, job)
    client = reader(stack.settings)
    assert count(client, "likes", "t1") == 20
    admin = secured.admin()
    ends = {partition: high for partition, (_, high) in edges(stack.settings.kafka).items() if high}
    progress = cassandra.execute(f"SELECT offsets FROM {stack.settings.realtime.keyspace}.progress").one().offsets
    for job in ("streaming_counts", "archive_events"):
        reported = {p: at for p, at in group_offsets(admin, f"stitch-{job}").items() if at}
        assert reported == ends == {p: at for p, at in progress.items() if at}  # lag 0
    wait_for_the_window_to_end(stack)
    run_in(stack.settings, "batch_totals")
    assert count(client, "likes", "t1", "batch") == 20


@pytest.mark.slow
@pytest.mark.parametrize("way", ["mTLS", "PLAIN", "OAUTHBEARER"])
def test_by_every_other_way_of_showing_who_one_is_records_come_too(
    asked: Asked, topic: str, spark: Any, way: str
) -> None:
    settings = asked(way, topic=topic).settings
    check_topic(settings.kafka)
    with session("test", settings):
        records = read_topics(spark, settings.topics_read)
        query = records.writeStream.format("memory").queryName(f"by_{way}").trigger(availableNow=True).start()
    query.awaitTermination(120)
    assert spark.table(f"by_{way}").count() == 20
    plan = query._jsq.explainInternal(True)
    assert "kafka" in plan and MARK not in plan and "PRIVATE KEY" not in plan


REFUSED: dict[str, tuple[str, Callable[[SecuredKafka, Path], dict[str, Any]], str]] = {
    "a port of TLS asked without": (
        "SCRAM", lambda k, _: {"security_protocol": "SASL_PLAINTEXT", "tls": {}}, "speaks TLS: set",
    ),
    "an unknown authority": (
        "SCRAM", lambda _, folder: {"tls": {"ca_file": str(Authority(folder, "other").ca_file)}}, "kafka.tls.ca_file",
    ),
    "a certificate of another host": (
        "SCRAM", lambda k, _: {"bootstrap_servers": f"localhost:{k.sasl_port}"}, "names another host",
    ),
    "a mechanism that the brokers do not offer": (
        "SCRAM", lambda *_: {"sasl_mechanism": "SCRAM-SHA-256"}, "authentication failed",
    ),
    "no client certificate": ("mTLS", lambda k, _: {"tls": {"ca_file": str(k.ca_file)}}, "wants a client certificate"),
    "a file that is not there": (
        "SCRAM", lambda *_: {"tls": {"ca_file": "/no/ca.pem"}}, "kafka.tls.ca_file: /no/ca.pem",
    ),
    "an option that there is not": ("SCRAM", lambda *_: {"librdkafka": {"no.such": 1}}, "no.such"),
}  # fmt: skip


@pytest.mark.parametrize(("way", "change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_is_one_clear_message_at_once(
    asked: Asked, secured: SecuredKafka, tmp_path: Path, way: str, change: Any, message: str
) -> None:
    assert message in refused(asked(way, **change(secured, tmp_path)))


@pytest.mark.parametrize("way", ["SCRAM", "PLAIN", "OAUTHBEARER"])
def test_a_wrong_secret_is_one_clear_message_at_once(asked: Asked, way: str) -> None:
    settings = asked(way).settings
    wrong = {"password": SecretStr("wrong"), "client_secret": SecretStr("wrong")}
    settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update=wrong)})
    assert "refuses this client: authentication failed" in refused(Stack(settings, Path()))


def refused(stack: Stack) -> str:
    began = time.monotonic()
    with pytest.raises(JobError) as told:
        archive(stack.settings, True, Stop())
    assert time.monotonic() - began < 30
    return str(told.value)


@pytest.mark.slow
def test_an_acl_that_is_missing_is_named(
    asked: Asked, secured: SecuredKafka, topic: str, spark: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    admin = secured.admin()
    admin.create_topics([NewTopic(f"{topic}_2", 1, 1)])[f"{topic}_2"].result(10)
    assert "DESCRIBE, DESCRIBE_CONFIGS and READ on the topic" in refused(asked("SCRAM", topic=f"{topic}_2"))
    secured.grant(f"{topic}_2", AclOperation.DESCRIBE)
    said = refused(asked("SCRAM", topic=f"{topic}_2"))
    assert "ACLs DESCRIBE_CONFIGS, READ are missing" in said and "--operation DescribeConfigs --operation Read" in said
    # A group that may not be committed to is said, once, and stops nothing.
    base = write_config(tmp_path / "log.toml", lake=lake(tmp_path))
    run_in(asked("SCRAM", base, topic=topic, group_prefix="other").settings, "archive_events")
    said = capfd.readouterr().out
    assert said.count("lag not reported to the consumer group other-archive_events") == 1
    assert "needs the ACL READ on it" in said and "events=20" in said


LOGGING = """\
rootLogger.level = info
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %p %c: %m%n
logger.kafka.name = org.apache.kafka
logger.kafka.level = info
logger.source.name = org.apache.spark.sql
logger.source.level = info
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["SCRAM", "mTLS"])
def test_a_secret_is_in_no_log_no_process_list_no_page_of_spark_and_no_file(
    asked: Asked, secured: SecuredKafka, topic: str, fresh: Stack, tmp_path: Path, way: str
) -> None:
    stack = asked(way, fresh.config_path, topic=topic)
    key = secured.client.key_file.read_text("utf-8").splitlines()
    marks = [MARK, key[1], key[len(key) // 2]]
    (ui,) = free_ports(1)
    (tmp_path / "events").mkdir()
    (tmp_path / "log4j2.properties").write_text(LOGGING, "utf-8")
    conf = {
        "spark.ui.enabled": "true", "spark.ui.port": str(ui), "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": str(tmp_path / "events"),
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={tmp_path}/log4j2.properties",
    }  # fmt: skip
    spark_args = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
    log = tmp_path / "job.log"
    code = "import sys; from stitch.submit import submit; sys.exit(submit(sys.argv[1], [], sys.argv[2], sys.argv[3:]))"
    with log.open("wb") as out:
        job = subprocess.Popen(
            [sys.executable, "-c", code, "streaming_counts", str(stack.config_path), *spark_args],
            stdout=out,
            stderr=out,
        )
        try:
            wait_for_line(log, "streaming_counts batch=", job)
            shown = [page_of(ui, path) for path in ("environment/", "SQL/", "StreamingQuery/", "jobs/")]
            shown += [page_of(ui, f"SQL/execution/?id={n}") for n in range(6)]
            shown += [page_of(ui, "api/v1/applications")]
            processes = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
            for process in processes:
                with suppress(psutil.Error):  # one that ended meanwhile shows nothing
                    shown.append(" ".join(process.cmdline()))
        finally:
            job.terminate()
            job.wait(90)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("events/" in str(path) for path in files) and any("checkpoints" in str(path) for path in files)
    said = log.read_text("utf-8")
    assert "ConsumerConfig values" in said and "streaming_counts batch=" in said  # the client told of its settings
    assert "sasl.jaas.config = [hidden]" in said or way == "mTLS"
    texts = {f"page {n}": text for n, text in enumerate(shown)}
    texts |= {str(path): path.read_bytes().decode("utf-8", "replace") for path in files}
    assert [(where, mark) for where, text in texts.items() for mark in marks if mark in text] == []


def page_of(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=20) as answer:
        return str(answer.read().decode())
