"""The settings that deploy/kubernetes ships are settings."""

from __future__ import annotations

import pytest

from stitch.settings import load_settings
from tests.deploy.airflow_parts import ROOT


def test_the_settings_of_the_cluster_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for section in ("REALTIME", "BATCH", "KAFKA"):
        monkeypatch.setenv(f"STITCH_{section}__PASSWORD", "of the secret")
    settings = load_settings(ROOT / "deploy/kubernetes/stitch.toml")
    assert settings.streaming.checkpoint.startswith("s3a://")
    assert [counter.name for counter in settings.counters] == ["plays"]
