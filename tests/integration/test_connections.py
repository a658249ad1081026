"""Connections on real parts: a Cassandra that wants passwords and certificates, and one that speaks protocol 4."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from connections.cassandra import connected
from connections.refusals import NoAnswer, NotConnected, Refused
from jobs.process.spark import session
from jobs.sinks.cassandra import forget_connections, upsert
from jobs.sources.stored import read_increments
from stitch.clusters import CassandraSettings, RealtimeSettings, TlsSettings
from stitch.definitions import by_definition, stored_names
from stitch.settings import Settings, load_settings
from stitch_local import cassandra
from stitch_local.process import start, stop
from stitch_local.schema import apply_schema
from stitch_local.stack import wait_until_all_answer
from tests.certificates import Authority, Certificate
from tests.conftest import Reader, Stack, stack_config, write_config
from tests.faults.proxy import Proxy

WINDOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
YAML = """
authenticator: { class_name: PasswordAuthenticator }
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: true
  ssl_context_factory: { class_name: org.apache.cassandra.security.PEMBasedSslContextFactory }
  keystore: %s
  truststore: %s
"""


@dataclass(frozen=True)
class Secured:
    """A Cassandra that takes TLS with a client's certificate and a password, and nothing else."""

    settings: Settings
    strange: Authority  # one that the server does not know

    @property
    def layer(self) -> RealtimeSettings:
        return self.settings.realtime

    def but(self, tls: dict[str, Any] | None = None, **changed: Any) -> Settings:
        """Its settings, with the real-time layer's changed."""
        if tls is not None:
            assert self.layer.tls
            changed["tls"] = TlsSettings(**(self.layer.tls.model_dump() | tls))
        values = {name: getattr(self.layer, name) for name in RealtimeSettings.model_fields} | changed
        return self.settings.model_copy(update={"realtime": RealtimeSettings(**values)})


def files(certificate: Certificate) -> dict[str, str]:
    """The settings that name its files."""
    return {"certificate_file": str(certificate.certificate_file), "key_file": str(certificate.key_file)}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    ours = Authority(folder / "tls")
    server, client = ours.issue("server", "127.0.0.1", "localhost"), ours.issue("client", key_password="sealed")
    (folder / "password").write_text("cassandra\n", "utf-8")
    base = stack_config(folder)
    tls = {"ca_file": str(ours.ca_file), **files(client)}
    shown = {"username": "cassandra", "tls": tls}
    config = write_config(
        folder / "secured.toml", base=base, realtime=shown, batch=shown, local={"cassandra_heap": "384m"}
    )
    with pytest.MonkeyPatch.context() as environment:
        for layer in ("REALTIME", "BATCH"):
            environment.setenv(f"STITCH_{layer}__PASSWORD_FILE", str(folder / "password"))
            environment.setenv(f"STITCH_{layer}__TLS__KEY_PASSWORD", "sealed")
        settings = load_settings(config)
    node = cassandra.Node(yaml=YAML % (server.store_file, ours.ca_file), asked=settings.realtime)
    service = cassandra.service(settings, node)
    start(service)
    try:
        wait_until_all_answer([service], lambda _: None)
        apply_schema(settings)
        yield Secured(settings, Authority(folder / "strange", "strange"))
    finally:
        stop(service.pid_file)


def test_jobs_schema_and_reader_reach_a_cluster_by_password_and_mutual_tls_and_show_no_secret(
    secured: Secured, spark: SparkSession, reader: Reader, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = secured.settings
    with session("test", settings):
        row = (stored_names(settings)["plays"], "t1", WINDOW.date(), WINDOW, WINDOW, 7, 7)
        schema = (
            "counter string, key string, ingest_date date, ingest_window timestamp, bucket timestamp, "
            "count bigint, write_time bigint"
        )
        upsert(spark.createDataFrame([row], schema), settings.realtime, "increments")
        counted = by_definition(settings)
        held = read_increments(spark, counted, None, datetime.now(UTC)).select("key", "count").collect()
        password = spark.conf.get("realtime/spark.cassandra.auth.password")
        stores = [
            spark.conf.get(f"realtime/spark.cassandra.connection.ssl.{kind}Store.password") for kind in ("key", "trust")
        ]
        folder = Path(spark.conf.get("realtime/spark.cassandra.connection.ssl.keyStore.path")).parent
        modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()} | {folder.stat().st_mode & 0o777}
    assert [tuple(row) for row in held] == [("t1", 7)]
    answer = reader(settings).get("/v1/totals?counters=plays&keys=t1&layer=realtime")
    assert answer.json["data"] == [{"key": "t1", "counts": {"plays": 7}}]

    out, err = capfd.readouterr()
    shown = [*pages(spark), out, err]
    assert password == "cassandra" and "auth.password -> *********(redacted)" in shown[0]
    assert not [text for text in shown for secret in stores if secret in text]
    assert not [text for text in shown if re.search(r"auth\.password(\W+)cassandra", text)]
    assert modes == {0o600, 0o700} and not folder.exists()
    assert spark.conf.get("realtime/spark.cassandra.auth.password", None) is None


def pages(spark: SparkSession) -> list[str]:
    """What Spark's web pages show: the settings of each query that ran, and the environment."""
    ran = spark._jsparkSession.sharedState().statusStore().executionsList()
    of_queries = "\n".join(ran.apply(n).modifiedConfigs().mkString("\n") for n in range(ran.size()))
    return [of_queries, str(spark.sparkContext.getConf().getAll())]


Change = Callable[[Secured], Settings]
# The alert that says so may be lost, for the server hangs up behind it.
CERTIFICATE = r"refuses the client's certificate[:,] set realtime.tls.certificate_file"
REFUSALS: dict[str, tuple[Change, str]] = {
    "a wrong password": (
        lambda s: s.but(password="wrong"),
        r"refuses the user or the password: check realtime.username, and STITCH_REALTIME__PASSWORD",
    ),
    "no user": (lambda s: s.but(username=None), r"asks for a user and a password: set realtime.username"),
    "no certificate": (
        lambda s: s.but(tls={"certificate_file": None, "key_file": None}),
        CERTIFICATE,
    ),
    "a stranger's certificate": (
        lambda s: s.but(tls=files(s.strange.issue("stranger"))),
        CERTIFICATE,
    ),
    "an authority that is not the server's": (
        lambda s: s.but(tls={"ca_file": str(s.strange.ca_file)}),
        r"signed by nobody that realtime.tls.ca_file holds: set",
    ),
    "no authority": (
        lambda s: s.but(tls={"ca_file": None}),
        r"signed by nobody that this machine knows: set realtime.tls.ca_file",
    ),
    "another datacenter": (
        lambda s: s.but(datacenter="dc9"),
        r"no datacenter 'dc9': set realtime.datacenter to one of datacenter1",
    ),
}


@pytest.mark.parametrize(("change", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_names_the_setting_that_is_wrong_and_logs_no_stack_trace(
    secured: Secured, change: Change, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind = NotConnected if message == CERTIFICATE else Refused
    with pytest.raises(kind, match=message), connected(change(secured).realtime, "realtime", connect_timeout=5):
        pass
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_connection_without_tls_is_told_that_the_server_may_want_it(secured: Secured) -> None:
    with (
        pytest.raises(NoAnswer, match=r"where it wants TLS, add \[realtime.tls\]"),
        connected(secured.layer.model_copy(update={"tls": None}), "realtime"),
    ):
        pass


def test_a_certificate_of_another_host_is_refused_by_driver_and_connector_unless_the_settings_allow_it(
    secured: Secured, spark: SparkSession
) -> None:
    with Proxy(secured.layer.port, host="127.0.0.9") as elsewhere:
        strict = secured.but(hosts=["127.0.0.9"], port=elsewhere.port)
        with (
            pytest.raises(Refused, match=r"certificate names another host: set realtime.hosts"),
            connected(strict.realtime, "realtime"),
        ):
            pass
        assert "No subject alternative names matching" in str(read_by_connector(spark, strict))
        lax = secured.but(hosts=["127.0.0.9"], port=elsewhere.port, tls={"verify_hostname": False})
        with connected(lax.realtime, "realtime") as cassandra_session:
            assert cassandra_session.execute("SELECT key FROM system.local").one().key == "local"
        both = lax.model_copy(update={"batch": secured.settings.batch.model_copy(update={"tls": lax.realtime.tls})})
        assert read_by_connector(spark, both) is None


def test_the_connector_is_refused_with_a_wrong_password(secured: Secured, spark: SparkSession) -> None:
    assert "Provided username cassandra and/or password are incorrect" in str(
        read_by_connector(spark, secured.but(password="wrong"))
    )


def read_by_connector(spark: SparkSession, settings: Settings) -> Exception | None:
    """What the connector fails with, reading a table of the real-time layer's cluster; None where it does not."""
    forget_connections(spark)
    try:
        with session("test", settings):
            read_increments(spark, settings, None, datetime.now(UTC)).collect()
        return None
    except Exception as error:
        return error
    finally:
        forget_connections(spark)


def test_a_connection_is_made_in_the_protocol_that_all_speak_without_a_word(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    layer = CassandraSettings(port=stack.settings.realtime.port, keyspace="system")
    with connected(layer, "realtime") as cassandra_session:
        assert cassandra_session.cluster.protocol_version == 4
        assert cassandra_session.execute("SELECT release_version FROM system.local").one()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
