"""The real stack: what `stitch local up` leaves behind, and that it is safe to repeat."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from stitch.settings import load_settings
from stitch_local import stack as local_stack
from stitch_local.errors import StackError
from stitch_local.process import running
from tests.conftest import Stack, stack_config


def test_up_twice_is_harmless(stack: Stack) -> None:
    before = [(row.name, row.state, row.pid) for row in local_stack.status(stack.settings)]
    local_stack.up(stack.settings)
    after = [(row.name, row.state, row.pid) for row in local_stack.status(stack.settings)]
    assert before == after
    assert {state for _, state, _ in after} == {"running"}


def test_the_topic_is_stamped_by_the_broker_and_has_its_partitions(fresh: Stack) -> None:
    kafka = fresh.settings.kafka
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    resource = ConfigResource(ConfigResource.Type.TOPIC, kafka.topic)
    config = admin.describe_configs([resource])[resource].result(timeout=30)
    assert config["message.timestamp.type"].value == "LogAppendTime"
    assert len(admin.list_topics(kafka.topic, timeout=30).topics[kafka.topic].partitions) == 8


def test_both_layers_have_their_keyspace(fresh: Stack, cassandra: Any) -> None:
    names = {row.keyspace_name for row in cassandra.execute("SELECT keyspace_name FROM system_schema.keyspaces")}
    assert {fresh.settings.realtime.keyspace, fresh.settings.batch.keyspace} <= names


def test_a_second_stack_on_a_port_in_use_is_refused_with_the_setting_to_change(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(stack.settings.local.kafka_port)
    monkeypatch.setenv("STITCH_LOCAL__KAFKA_PORT", port)
    monkeypatch.setenv("STITCH_KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    other = load_settings(stack_config(tmp_path))
    with pytest.raises(StackError, match=rf"port {port} is in use.*STITCH_LOCAL__KAFKA_PORT"):
        local_stack.up(other)
    assert {row.state for row in local_stack.status(other)} == {"down"}


def test_a_stale_pid_file_is_not_taken_for_a_running_service(stack: Stack) -> None:
    service = local_stack.services(stack.settings)[0]
    true_text = service.pid_file.read_text()
    try:
        service.pid_file.write_text(json.dumps({"pid": os.getpid(), "created": 1.0}))
        assert running(service.pid_file) is None
        assert local_stack.status(stack.settings)[0].state == "down"
    finally:
        service.pid_file.write_text(true_text)
    assert local_stack.status(stack.settings)[0].state == "running"
