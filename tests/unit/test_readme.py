"""The README and docs/ name everything a user can set, ask or type, and show what there is: else nobody finds it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import textwrap
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import click
import pytest
from pydantic import BaseModel

from serving.app import create_app
from stitch.buckets import EPOCH
from stitch.cli import main
from stitch.clusters import TlsSettings
from stitch.commands.config import OF_STITCH
from stitch.counters import Counter
from stitch.jars.repository import MIRROR
from stitch.merge import Total
from stitch.sections import NamesSettings, SourceSettings, TokenSettings, TopicSettings
from stitch.settings import Settings, load_settings
from stitch.submit import JOBS
from stitch.submit_args import SUBMITTER
from tests.fakes import FakeLayers

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SETTINGS = (ROOT / "docs/settings.md").read_text("utf-8")
HTTP = (ROOT / "docs/http.md").read_text("utf-8")
COMMANDS = (ROOT / "docs/commands.md").read_text("utf-8")
INSTALL = (ROOT / "docs/install.md").read_text("utf-8")
PAGES = (*sorted(ROOT.glob("*.md")), ROOT / "bench/README.md", *sorted((ROOT / "docs").glob("*.md")))
WIDE = (".lock", ".png", ".sum", ".xz")  # made by tools: any width
SECTIONS = list(Settings.model_fields)
# The tables of the settings as docs/settings.md names them.
TABLES: dict[str, type[BaseModel]] = {
    **{f"[{name}]": cast("type[BaseModel]", Settings.model_fields[name].annotation)
       for name in SECTIONS if name not in ("counters", "sources", "topics")},
    "[[counters]]": Counter, "[[sources]]": SourceSettings, "[[topics]]": TopicSettings,
    "[serving.names.FIELD]": NamesSettings, "[serving.tokens.NAME]": TokenSettings, "tls": TlsSettings,
}  # fmt: skip
REQUIRED = {
    "name": "plays",
    "key": "track_id",
    "weights": {"play": 1},
    "sha256": "0" * 64,
}
TOUR = {
    ("departures", "day", datetime(2013, 2, 8, tzinfo=UTC)): 198,
    ("departures", "day", datetime(2013, 2, 9, tzinfo=UTC)): 96,
    ("cancellations", "day", datetime(2013, 2, 8, tzinfo=UTC)): 105,
    ("cancellations", "day", datetime(2013, 2, 9, tzinfo=UTC)): 187,
    ("departures", "all", EPOCH): 109416,
}
SPLICED = README.replace("'\\\n    '", "")  # a shell's argument that goes on in the next line
COUNTER = {"name": "plays", "key": "track_id", "weights": {"play": 1}}
SECRETS = {"username": "password", "client_id": "client_secret"}  # what goes with which setting
ONE_OF = {"[[sources]]": {"table": "lake.warehouse.plays"}}  # settings of which one must be there


def documented(table: str) -> list[tuple[str, str]]:
    """(setting, default) of every row below a heading of docs/settings.md that names the table."""
    sections = re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", SETTINGS, re.MULTILINE)
    rows = "".join(text for heading, text in sections if f"`{table}`" in heading)
    return re.findall(r"^\| `(\w+)` \| (`[^`]+`|none|required) \| [^|\s]", rows, re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_stands_in_the_table_of_sections(section: str) -> None:
    table = SETTINGS[: SETTINGS.index("## ")]
    assert f"`[{section}]" in table or f"`[[{section}]]" in table


@pytest.mark.parametrize("table", TABLES)
def test_every_setting_is_documented_and_none_that_does_not_exist(table: str) -> None:
    assert sorted(name for name, _ in documented(table)) == sorted(TABLES[table].model_fields)


@pytest.mark.parametrize("table", TABLES)
def test_a_documented_default_is_that_of_the_code(table: str) -> None:
    model, said = TABLES[table], dict(documented(table))
    fields = {name: field for name, field in model.model_fields.items() if name in said}
    required = {name for name, field in fields.items() if field.is_required()}
    without = {name for name, field in fields.items() if not field.is_required() and field.default is None}
    assert {name for name, default in said.items() if default == "required"} == required
    assert {name for name, default in said.items() if default == "none"} == without
    written = {name: said[name] for name in fields if name not in required | without}
    values = {name: tomllib.loads(f"it = {default.strip('`')}")["it"] for name, default in written.items()}
    read = model(**values, **{name: REQUIRED[name] for name in required}, **ONE_OF.get(table, {}))
    assert {name: getattr(read, name) for name in written} == {name: fields[name].default for name in written}


def test_every_variable_of_set_up_stands_in_the_page_of_installation() -> None:
    assert [name for name in (MIRROR, "SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY") if f"`{name}`" not in INSTALL] == []


@pytest.mark.parametrize("variable", [name for name in OF_STITCH if name != SUBMITTER])
def test_every_variable_that_sets_no_setting_says_somewhere_what_it_is(variable: str) -> None:
    deploy = "".join(file.read_text("utf-8") for file in (ROOT / "deploy").rglob("stitch*") if file.is_file())
    own = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert f"`{variable}`" in INSTALL + own or re.search(rf"{variable} |\${variable}\b", deploy)


def test_every_endpoint_stands_in_the_page_of_http() -> None:
    app = create_app(load_settings(ROOT / "conf/stitch.toml"), FakeLayers())
    paths = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"}
    assert {path for path in paths if path not in HTTP[: HTTP.index("## Reference")]} == set()


def test_every_make_target_stands_in_the_readme() -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert [name for name in targets if f"make {name}" not in README and name not in ("help", "setup")] == []


def test_every_job_stands_in_the_page_of_jobs() -> None:
    page = (ROOT / "docs/jobs.md").read_text("utf-8")
    assert [job for job in JOBS if f"| `{job}`" not in page] == []


def test_every_page_is_in_the_readmes_index() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - set(re.findall(r"\]\(([^)#]+)", README)) == set()


def test_every_command_stands_in_the_page_of_commands() -> None:
    schema = cast("click.Group", main.commands["schema"])
    assert [name for name in main.commands if f"`stitch {name}" not in COMMANDS] == []
    assert [name for name in schema.commands if f"stitch schema {name}" not in COMMANDS] == []


def test_the_answers_in_the_readme_are_those_of_the_reader() -> None:
    layers = FakeLayers()
    settings, cutoff = load_settings(ROOT / "conf/flights.toml"), datetime(2026, 11, 23, 18, 1, 20, tzinfo=UTC)
    layers.published = {counter.name: cutoff for counter in settings.counters}
    layers.through = datetime(2026, 11, 23, 18, 0, 39, 13000, tzinfo=UTC)
    for (name, granularity, bucket), count in TOUR.items():
        layers.total_rows[name, "JFK", granularity, bucket] = Total(count, cutoff)
    for carrier, count in {"B6": 41761, "DL": 20601, "AA": 13783, "9E": 14651, "MQ": 18620}.items():
        layers.member_total_rows["departures", "JFK", "all", EPOCH, carrier] = Total(count, cutoff)
    client = create_app(settings, layers, lambda: cutoff + timedelta(seconds=10)).test_client()
    asked = re.findall(r"^    \$ curl 'http://127.0.0.1:18080(/.*?)'\n((?:    .*\n)+)", SPLICED, re.MULTILINE)
    assert len(asked) == 2
    for path, shown in asked:
        whole = client.get(path).get_json()
        said = json.loads(re.sub(r",?\s*…,?\s*", "", shown.replace('"next": …', '"next": null')))
        assert {name for name in said if name != "next" and not within(said[name], whole[name])} == set(), path
        assert "next" not in said or whole["next"]


def within(said: Any, whole: Any) -> bool:
    """Whether an answer holds what was said of it; objects may have more."""
    if isinstance(said, dict):
        return said.keys() <= whole.keys() and all(within(value, whole[name]) for name, value in said.items())
    if isinstance(said, list):
        return len(said) == len(whole) and all(map(within, said, whole))
    return bool(said == whole)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_that_a_page_shows_can_be_used(page: Path) -> None:
    text = page.read_text("utf-8")
    fenced = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    \[+[a-z.]+\]+(?: .*)?\n(?:    (?!stitch ).*\n|\n(?=    ))*", text, re.MULTILINE)
    for shown in (*fenced, *map(textwrap.dedent, indented)):
        said = {"counters": [COUNTER], **tomllib.loads(shown)}
        for section in (said.get("kafka", {}), said.get("realtime", {})):  # secrets come from the environment
            section |= {SECRETS[name]: "secret" for name in SECRETS.keys() & section.keys()}
        Settings.model_validate(said)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    bad = []
    for path, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            bad.append(f"{path}#{anchor}")
    assert bad == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="what belongs to the repository is asked of git")
def test_every_line_of_the_repository_keeps_within_120_columns() -> None:
    """Prose, code, pages, settings: all that git has or would take."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    files = [ROOT / name for name in names if name and Path(name).suffix not in WIDE]
    lines = {
        f"{file.relative_to(ROOT)}:{number}": len(line)
        for file in files
        if file.exists()  # a file deleted but not yet committed is listed still
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
    }
    assert len(lines) > 10_000
    assert {place: width for place, width in lines.items() if width > 120} == {}


def test_every_test_that_the_reliability_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)…?`", (ROOT / "docs/reliability.md").read_text("utf-8")))
    code = "\n".join(path.read_text("utf-8") + path.stem for path in (ROOT / "tests").rglob("test_*.py"))
    assert named and [name for name in sorted(named) if name not in code] == []


def test_what_runs_in_make_faults_alone_is_marked_in_the_table_of_faults() -> None:
    """(f) in docs/reliability.md, @pytest.mark.slow in the tests."""
    slow: dict[str, bool] = {}
    for file in (ROOT / "tests").rglob("test_*.py"):
        text = file.read_text("utf-8")
        whole = "pytestmark = pytest.mark.slow" in text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                slow[node.name] = whole or any("mark.slow" in ast.unparse(one) for one in node.decorator_list)
    named = re.findall(r"`(test_\w+)…`(,?\s\(f\))?", (ROOT / "docs/reliability.md").read_text("utf-8"))
    assert len(named) > 30
    for start, marked in named:
        found = {slow[name] for name in slow if name.startswith(start)}
        assert found == {bool(marked)}, start
