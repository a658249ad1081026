"""deploy/docker by hadolint, and by what the images must be. They are not built here: there is no Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "deploy/docker").glob("*.Dockerfile"))
HADOLINT = Path(sys.executable).with_name("hadolint")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_hadolint_finds_nothing(file: Path) -> None:
    found = subprocess.run([str(HADOLINT), "--no-color", str(file)], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_image_runs_as_a_user_without_rights_and_says_whether_it_is_healthy(file: Path) -> None:
    last = file.read_text("utf-8").rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001"]
    assert re.search(r"^HEALTHCHECK ", last, re.MULTILINE)


def test_images_have_the_spark_and_the_uv_of_the_project() -> None:
    spark = re.findall(r"^pyspark==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    uv = re.findall(r"^UV_VERSION := (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    texts = "".join(file.read_text("utf-8") for file in FILES)
    assert {*re.findall(r"apache/spark:([\d.]+)-", texts)} == set(spark)
    assert {*re.findall(r"uv==(\S+)", texts)} == set(uv)
