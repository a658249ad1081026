"""The file of Spark's classes: made by set-up, used by every job on this machine, missed by none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stitch import class_archive
from stitch.jars import classes
from stitch.jars import sets as jars
from stitch.java import java_home
from stitch.submit import JVM_OPTIONS, command, environment, own_properties


def test_a_job_takes_its_classes_from_the_file_of_set_up(tmp_path: Path) -> None:
    assert classes.options(java_home()), "make setup made none"
    (tmp_path / "spark.conf").write_text(own_properties([])[0], "utf-8")
    env = environment(None)
    env[JVM_OPTIONS] += f" -Xlog:class+load:file={tmp_path}/classes.log"
    spark_submit, *_ = command("audit_counts", [], tmp_path / "spark.conf")
    call = [spark_submit, "--properties-file", str(tmp_path / "spark.conf"), "--version"]
    subprocess.run(call, env=env, check=True, capture_output=True)
    lines = (tmp_path / "classes.log").read_text("utf-8").splitlines()
    of_spark = [line for line in lines if " org.apache.spark." in line and "$$Lambda$" not in line]
    mapped = [line for line in of_spark if line.endswith(" source: shared objects file (top)")]
    assert len(mapped) > 0.9 * len(of_spark) > 50


def test_where_java_writes_no_such_file_that_is_told_and_jobs_start_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(classes, "CACHE", tmp_path)
    (tmp_path / "jars").mkdir()
    of_before = classes.archive(java_home()).with_stem("classes-of-another-environment")
    of_before.touch()
    classes.archive(java_home()).with_stem(f"{classes.archive(java_home()).stem}-before").touch()
    monkeypatch.setattr(class_archive, "command", lambda *_: ["sh", "-c", "echo no room >&2; exit 1"])
    class_archive.make()
    assert "there is none, and jobs start without it: no room" in capsys.readouterr().out
    assert list((tmp_path / "jars").iterdir()) == [of_before] and jars.SPARK.complete
    assert "SharedArchiveFile" not in environment(None)[JVM_OPTIONS]
