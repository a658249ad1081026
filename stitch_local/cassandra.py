"""A real Cassandra as one JVM, all of it below `local.folder`, kept small: it shares a machine with Spark and Kafka.

It opens no JMX port, so that two checkouts run side by side with only the ports of their settings.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable

from connections.cassandra import connected
from stitch.clusters import CassandraSettings
from stitch.errors import StitchError
from stitch.jars.sets import CASSANDRA, class_path
from stitch.java import java_home
from stitch.settings import Settings
from stitch_local.process import Service, accepts, local_folder

YAML = """\
# Written by `stitch local up` at every start; change conf/stitch.toml instead.
cluster_name: stitch
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
dynamic_snitch: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "{seed}:{storage_port}"
listen_address: {host}
rpc_address: {host}
storage_port: {storage_port}
native_transport_port: {port}
auto_bootstrap: false
data_file_directories: ["{home}/data"]
commitlog_directory: "{home}/commitlog"
saved_caches_directory: "{home}/saved_caches"
hints_directory: "{home}/hints"
cdc_raw_directory: "{home}/cdc_raw"
commitlog_sync: periodic
commitlog_sync_period: 1000ms
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
auto_snapshot: false
hinted_handoff_enabled: false
memtable_heap_space: 96MiB
memtable_offheap_space: 64MiB
key_cache_size: 8MiB
counter_cache_size: 0MiB
file_cache_size: 48MiB
networking_cache_size: 24MiB
prepared_statements_cache_size: 8MiB
concurrent_reads: 8
concurrent_writes: 16
concurrent_compactors: 1
batch_size_warn_threshold: 50KiB
{more}
"""

LOGBACK = """\
<configuration scan="false">
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{ISO8601} %-5level %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""

# conf/jvm17-server.options of Cassandra 5.0.
EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
)
OPENS = (
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.lang",
    "java.base/java.math",
    "java.base/java.net",
)


@dataclass(frozen=True)
class Node:
    """One node: the only one of `stitch local`; in tests one of three, or one with more in its cassandra.yaml.

    ring_delay_ms: how long it listens for others before it joins them; one that is alone has nobody to wait for
    asked: how it is asked whether it answers, where that takes more than its address
    """

    name: str = "cassandra"
    host: str = "127.0.0.1"
    seed: str = "127.0.0.1"
    yaml: str = ""
    ring_delay_ms: int = 100
    asked: CassandraSettings | None = None


def service(settings: Settings, node: Node = Node()) -> Service:
    """The Cassandra of these settings, not started."""
    local = settings.local
    home = local_folder(settings) / node.name
    asked = node.asked or CassandraSettings(hosts=[node.host], port=local.cassandra_port, keyspace="system")
    return Service(
        name=node.name,
        folder=local_folder(settings),
        ports={
            "local.cassandra_port": local.cassandra_port,
            "local.cassandra_storage_port": local.cassandra_storage_port,
        },
        prepare=lambda: prepare(settings, home, node),
        answers=lambda: answers(asked),
    )


def prepare(settings: Settings, home: Path, node: Node) -> Sequence[str]:
    """Write the configuration and answer the command line."""
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    local, heap = settings.local, settings.local.cassandra_heap
    yaml = YAML.format(
        home=home, port=local.cassandra_port, storage_port=local.cassandra_storage_port,
        host=node.host, seed=node.seed, more=node.yaml,
    )  # fmt: skip
    (home / "cassandra.yaml").write_text(yaml, "utf-8")
    (home / "logback.xml").write_text(LOGBACK, "utf-8")
    classes = class_path(CASSANDRA)
    agents = [f"-javaagent:{jar}" for jar in sorted(CASSANDRA.folder.glob("*_jamm-*.jar"))]  # measures memtables
    return [
        str(java_home() / "bin/java"),
        f"-Xmx{heap}",
        f"-Xms{heap}",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:MaxDirectMemorySize=256m",
        "-Xss512k",
        *agents,
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
        f"-Dcassandra.config=file://{home}/cassandra.yaml",
        f"-Dlogback.configurationFile={home}/logback.xml",
        f"-Dcassandra.storagedir={home}",
        f"-Dcassandra.logdir={home}",
        f"-Djava.io.tmpdir={home}/tmp",
        "-Dcassandra-foreground=yes",
        f"-Dcassandra.ring_delay_ms={node.ring_delay_ms}",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.superuser_setup_delay_ms=0",
        "-cp",
        classes,
        "org.apache.cassandra.service.CassandraDaemon",
    ]


def answers(asked: CassandraSettings) -> bool:
    """Does it take a CQL session?"""
    if not all(accepts(asked.port, host) for host in asked.hosts):
        return False
    driver_log = logging.getLogger("cassandra")
    level = driver_log.level
    driver_log.setLevel(logging.CRITICAL)  # a node that is still starting is no news
    try:
        with connected(asked, "local") as session:
            session.execute("SELECT release_version FROM system.local")
        return True
    except (StitchError, NoHostAvailable, DriverException, OSError):
        return False
    finally:
        driver_log.setLevel(level)
