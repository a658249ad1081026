"""The DAG, the images and the resources of Kubernetes as Airflow and linters see them, in an environment of theirs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.airflow_parts import ENVIRONMENT, ROOT, have_it

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not have_it(), reason="these tools have an environment of their own: make deploy-test"),
]


@pytest.mark.parametrize("file", sorted((ROOT / "tests/deploy/tools").glob("test_*.py")), ids=lambda file: file.stem)
def test_what_is_shipped_passes_the_tests_in_its_tools(file: Path, tmp_path: Path) -> None:
    command = [str(ENVIRONMENT / "bin/python"), "-m", "pytest", "-q", "-c", "/dev/null", "--noconftest", str(file)]
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert found.returncode == 0 and " passed" in found.stdout, found.stdout[-5000:]
    if "skipped" in found.stdout:
        pytest.skip(found.stdout[-300:])
