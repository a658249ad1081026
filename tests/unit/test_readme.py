"""The README tells of everything a user can set, ask or type: what is not there does not exist for him."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving.app import create_app
from stitch.cli import schema
from stitch.counters import Counter
from stitch.local.repository import MIRROR
from stitch.settings import Settings, load_settings
from stitch.submit import JOBS
from tests.fakes import FakeLayers

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SECTIONS = {name: field.annotation for name, field in Settings.model_fields.items() if name != "counters"}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_stands_in_the_readme(section: str) -> None:
    assert f"`[{section}]`" in README
    shown_as_one = {"local"}  # "folder, ports and heaps"
    model = SECTIONS[section]
    assert model is not None
    missing = [name for name in model.model_fields if f"`{name}`" not in README and section not in shown_as_one]
    assert [name for name in missing if name not in ("password", "retention", "origin", "ingest_time")] == []


def test_every_part_of_a_counter_stands_in_the_readme() -> None:
    assert [name for name in Counter.model_fields if f"`{name}`" not in README] == []


def test_every_variable_of_set_up_stands_in_the_readme() -> None:
    assert [name for name in (MIRROR, "SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY") if f"`{name}`" not in README] == []


def test_every_endpoint_stands_in_the_readme() -> None:
    app = create_app(load_settings(ROOT / "conf/stitch.toml"), FakeLayers())
    paths = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"}
    assert {path for path in paths if path not in README} == set()


def test_every_job_and_make_target_stands_in_the_readme() -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert [job for job in JOBS if job not in README] == []
    assert [name for name in targets if f"make {name}" not in README and name not in ("help", "setup")] == []


def test_every_command_of_the_tables_stands_in_the_readme() -> None:
    assert [name for name in schema.commands if f"stitch schema {name}" not in README] == []


def test_a_bad_link_in_the_documentation_is_found() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_test_that_the_reliability_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)…?`", (ROOT / "docs/reliability.md").read_text("utf-8")))
    code = "\n".join(path.read_text("utf-8") + path.stem for path in (ROOT / "tests").rglob("test_*.py"))
    assert named and [name for name in sorted(named) if name not in code] == []
