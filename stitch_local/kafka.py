"""A real Kafka as one JVM: broker and KRaft controller in one node, all of it below `local.folder`.

Its storage is formatted once. A marker beside it is written after the formatting, so a folder whose formatting was
interrupted is formatted again instead of failing at every later start.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connections.kafka import librdkafka
from stitch.clusters import KafkaSettings
from stitch.jars.sets import KAFKA, class_path
from stitch.java import java_home
from stitch.settings import Settings
from stitch_local.errors import StackError
from stitch_local.process import Service, accepts, local_folder

PROPERTIES = """\
# Written by `stitch local up` at every start; change conf/stitch.toml instead.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=CONTROLLER://127.0.0.1:{controller_port},{listeners}
advertised.listeners={listeners}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocols}
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes=2097152
replica.fetch.max.bytes=2097152
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
min.insync.replicas=1
group.initial.rebalance.delay.ms=0
"""

LOG4J = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
"""


@dataclass(frozen=True)
class Listener:
    """A port besides the plain one; `protocol` and `properties` as in server.properties (`listener.name.<name>.…`)."""

    name: str
    port: int
    protocol: str
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Secured:
    """What makes the broker a secured one: listeners, and properties and flags of the whole."""

    listeners: Sequence[Listener] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    flags: Sequence[str] = ()


def service(settings: Settings, secured: Secured = Secured()) -> Service:
    """The Kafka of these settings, not started."""
    local = settings.local
    home = local_folder(settings) / "kafka"
    return Service(
        name="kafka",
        folder=local_folder(settings),
        ports={"local.kafka_port": local.kafka_port, "local.kafka_controller_port": local.kafka_controller_port},
        prepare=lambda: prepare(settings, home, secured),
        answers=lambda: answers(local.kafka_port),
    )


def prepare(settings: Settings, home: Path, secured: Secured) -> Sequence[str]:
    """Write the configuration, format the storage where that is not done, and answer the command line."""
    home.mkdir(parents=True, exist_ok=True)
    listeners = [Listener("PLAINTEXT", settings.local.kafka_port, "PLAINTEXT"), *secured.listeners]
    more = dict(secured.properties)
    for one in listeners:
        more |= {f"listener.name.{one.name.lower()}.{name}": value for name, value in one.properties.items()}
    properties = home / "server.properties"
    properties.write_text(
        PROPERTIES.format(
            listeners=",".join(f"{one.name}://127.0.0.1:{one.port}" for one in listeners),
            protocols=",".join(f"{one.name}:{one.protocol}" for one in listeners),
            controller_port=settings.local.kafka_controller_port,
            data=home / "data",
        )
        + "".join(f"{name}={value}\n" for name, value in more.items()),
        "utf-8",
    )
    (home / "log4j2.properties").write_text(LOG4J, "utf-8")
    java = [
        str(java_home() / "bin/java"),
        f"-Dlog4j2.configurationFile={home}/log4j2.properties",
        "-cp",
        class_path(KAFKA),
    ]
    format_storage(java, properties, home)
    heap = settings.local.kafka_heap
    flags = [
        f"-Xmx{heap}",
        f"-Xms{heap}",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        f"-Dkafka.logs.dir={home}",
        *secured.flags,
    ]
    return [java[0], *flags, *java[1:], "kafka.Kafka", str(properties)]


def format_storage(java: Sequence[str], properties: Path, home: Path) -> None:
    """Give the data folder its cluster id, once. Raises StackError with what the tool said."""
    formatted, data = home / "formatted.txt", home / "data"
    if formatted.exists() and (data / "meta.properties").exists():
        return
    formatted.unlink(missing_ok=True)
    shutil.rmtree(data, ignore_errors=True)
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)
    answer = subprocess.run(
        [*java[:1], "-Xmx128m", *java[1:], "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if answer.returncode:
        last = "\n".join((answer.stdout + answer.stderr).splitlines()[-10:])
        raise StackError(f"Kafka's storage in {data} could not be formatted:\n{last}")
    formatted.write_text(cluster + "\n", "utf-8")


def answers(port: int) -> bool:
    """Is there a broker that tells its topics?"""
    if not accepts(port):
        return False
    try:
        admin = AdminClient(librdkafka(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}")))
        return bool(admin.list_topics(timeout=5).brokers)
    except KafkaException:
        return False
