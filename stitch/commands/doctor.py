"""`stitch doctor`: what jobs and reader need, looked at before one of them fails; each finding with its mend.

Here the parts are asked; stitch.health.checks says what their answers mean.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from stitch.commands.config import unknown_variables
from stitch.commands.group import settings_of
from stitch.commands.progress import progress
from stitch.errors import ExitStatus, StitchError
from stitch.extras import of_module, told
from stitch.health.checks import examined
from stitch.health.facts import Disk, Facts, LayerFacts, TopicFacts
from stitch.health.page import exit_status, page
from stitch.settings import Settings
from stitch.tables import TABLES, LayerName
from stitch.values import scheme_of

T = TypeVar("T")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The findings, for programs.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Look at topics, ACLs, retention, tables, replication, clocks, Java, jars and disks; change nothing.

    Each finding has its mend. Exit status 1 where there is a problem, 75 where a part does not answer, else 0.
    """
    findings = examined(asked(settings_of(context)))
    if as_json:
        click.echo(json.dumps([one._asdict() for one in findings], ensure_ascii=False))
    else:
        click.echo(page(findings))
    context.exit(exit_status(findings))


def asked(settings: Settings) -> Facts:
    """The answers of all parts; an error in the place of one that does not answer."""
    views = settings.topics_read if settings.log.kafka else {}
    topics: dict[str, TopicFacts | StitchError] = {}
    layers: dict[LayerName, LayerFacts | StitchError] = {}
    with progress("asking Kafka and Cassandra", len(views) + len(TABLES)) as step:
        for name, view in views.items():
            topics[name] = _or_error(partial(_topic, view))
            step(len(topics))
        for layer in TABLES:
            layers[layer] = _or_error(partial(_layer, settings, layer))
            step(len(topics) + len(layers))
    now, unknown = datetime.now(UTC), unknown_variables(list(os.environ))
    return Facts(settings, now, topics, layers, _or_error(_java), _or_error(_jars), list(_disks(settings)), unknown)


def _or_error(ask: Callable[[], T]) -> T | StitchError:
    try:
        return ask()
    except StitchError as error:
        return error
    except ImportError as error:
        extra = of_module(error.name) or "jobs"
        return StitchError(f"not looked at: {told(extra, error.name or '')}")
    except Exception as error:  # whatever a client raises: the other parts are to be looked at all the same
        return StitchError(f"could not be looked at: {type(error).__name__}: {error}")


def _topic(settings: Settings) -> TopicFacts:
    from confluent_kafka import KafkaException, TopicCollection

    from connections import kafka as clients
    from connections.records import newest
    from jobs.sources.topic import asking, check_config, check_rights, check_topic, topic_config

    kafka = settings.kafka
    with asking(clients.admin(kafka)) as admin:
        brokers = len(admin.describe_cluster(request_timeout=clients.TIMEOUT_S).result(clients.TIMEOUT_S).nodes)
        described = admin.describe_topics(
            TopicCollection([kafka.topic]), include_authorized_operations=True, request_timeout=clients.TIMEOUT_S
        )
        try:
            topic = described[kafka.topic].result(clients.TIMEOUT_S)
            config = topic_config(admin, kafka)
        except KafkaException:  # no topic, or no right to look: the jobs say which, and the way out
            return TopicFacts({}, _refusals(partial(check_topic, kafka)))
    refusals = _refusals(
        partial(check_rights, kafka, topic.authorized_operations), partial(check_config, kafka, config)
    )
    replicas = {one.id: len(one.replicas) for one in topic.partitions}
    last = _or_error(lambda: newest(kafka, 1))
    stamp = None if isinstance(last, StitchError) or not last else last[-1].appended
    at = datetime.fromtimestamp(stamp / 10**6, UTC) if stamp and last and stamp > 0 else None
    return TopicFacts(config, refusals, replicas, brokers, _groups(settings), at)


def _refusals(*checks: Callable[[], None]) -> list[str]:
    """What the checks of the jobs say. Raises what may pass."""
    found = []
    for check in checks:
        try:
            check()
        except StitchError as error:
            if error.exit_status == ExitStatus.AGAIN:
                raise
            found.append(str(error))
    return found


def _groups(settings: Settings) -> str | None:
    """Why the jobs' consumer groups may not be used; None where they may."""
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

    from connections.kafka import TIMEOUT_S, librdkafka_consumer

    client = Consumer(librdkafka_consumer(settings.kafka, "streaming_counts") | {"error_cb": lambda _: None})
    try:
        client.committed([TopicPartition(settings.kafka.topic, 0)], timeout=TIMEOUT_S)
    except KafkaException as error:
        code = error.args[0].code()  # librdkafka says _WAIT_COORD, too, where the brokers deny the group
        denied = code in (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError._WAIT_COORD)
        return str(error.args[0].name()) if denied else None
    finally:
        client.close()
    return None


def _layer(settings: Settings, name: LayerName) -> LayerFacts:
    from connections import cassandra
    from connections.schema import check, find
    from stitch.cql import wanted
    from stitch.definitions import name_of

    layer = getattr(settings, name)
    with cassandra.connected(layer, name) as session:
        said = wanted(name, layer)
        differences, found = check(session, said), find(session, said)
        began = datetime.now(UTC)
        (row,) = session.execute("SELECT toUnixTimestamp(now()) AS at FROM system.local")
        here = began + (datetime.now(UTC) - began) / 2
        hosts = [
            host for host in session.cluster.metadata.all_hosts() if layer.bundle or host.datacenter == layer.datacenter
        ]
        cutoffs: dict[str, datetime] = {}
        if name == "batch" and "cutoffs" in found.tables:
            rows = session.execute(f"SELECT counter, cutoff FROM {layer.keyspace}.cutoffs")
            for one in rows:
                at = one.cutoff.replace(tzinfo=UTC)
                cutoffs[name_of(one.counter)] = max(at, cutoffs.get(name_of(one.counter), at))
    known = {counter.name for counter in settings.counters}
    factors = found.replication or {}
    factor = factors.get(layer.datacenter) or factors.get("replication_factor")
    return LayerFacts(
        differences,
        int(factor) if factor else None,
        len(hosts),
        [str(host.endpoint) for host in hosts if host.is_up is False],
        timedelta(milliseconds=row.at) + datetime.fromtimestamp(0, UTC) - here,
        {counter: at for counter, at in cutoffs.items() if counter in known},
    )


def _java() -> str:
    from stitch.java import WANTED, java_home

    return f"Java {WANTED} in {java_home()}"


def _jars() -> str:
    from stitch.jars.sets import SPARK, class_path

    return f"Spark's jars are fetched: {class_path(SPARK)}"


def _disks(settings: Settings) -> Iterator[Disk]:
    """The disks of what is kept on this machine; a path that is not there yet is on that of the folder above it."""
    paths = {"lake.warehouse": settings.lake.warehouse, "streaming.checkpoint": settings.streaming.checkpoint}
    for setting, path in paths.items():
        if scheme_of(path):
            continue
        there = next(folder for folder in (Path(path), *Path(path).parents) if folder.exists())
        yield Disk(setting, path, shutil.disk_usage(there).free, os.access(there, os.W_OK | os.X_OK))
