"""The dashboard, the alerts and the runbook are about the figures that there are, and about all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from serving.observe import metrics
from stitch.figures import FIGURES, JOB
from stitch.submit import JOBS, job_command

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/stitch.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
TESTED = yaml.safe_load((ROOT / "deploy/prometheus/alerts_test.yml").read_text("utf-8"))["tests"]
RUNBOOK = (ROOT / "docs/runbook.md").read_text("utf-8")
READERS = {
    family.name: (family.type, {label for sample in family.samples for label in sample.labels})
    for registered in (REGISTRY.collect(), metrics.Layers({"batch": True}, {}, None).collect())
    for family in registered
    if family.name.startswith("stitch_")
}


def exported() -> dict[str, str]:
    """Metric, as Prometheus has it → its type."""
    ours = {figure.exported: figure.type for figure in FIGURES}
    return ours | {name + ("_total" if kind == "counter" else ""): kind for name, (kind, _) in READERS.items()}


def asked_for(expression: str) -> set[str]:
    """The metrics of a query; of a histogram, its name. Raises AssertionError for a part that its type has not."""
    known, found = exported(), set()
    for name in re.findall(r"\bstitch_\w+", re.sub(r"\{[^}]*\}", "", expression)):
        if name in (JOB,):
            continue
        whole = re.sub(r"_(bucket|sum|count)$", "", name)
        part = name in known or known.get(whole) == "histogram"
        assert part, f"{name}: no such metric"
        found.add(name if name in known else whole)
    return found


QUERIES = {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in PANELS}


@pytest.mark.parametrize("title", QUERIES)
def test_a_panel_asks_for_metrics_that_there_are(title: str) -> None:
    assert all(asked_for(query) for query in QUERIES[title])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    assert asked_for(rule["expr"])


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for queries in QUERIES.values() for query in queries for name in asked_for(query)}
    assert exported().keys() - shown == set()


def test_a_legend_names_labels_that_the_query_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]
            assert kept - {"le"} <= {JOB, *(label for figure in FIGURES for label in figure.labels)} | {
                "layer", "counter", "status", "endpoint", "cache", "outcome",
            }  # fmt: skip


def test_panels_do_not_lie_over_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        for place in [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]:
            assert place not in taken and place[0] < 24, panel["title"]
            taken[place] = panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_is_tested_and_has_a_section_of_the_runbook(rule: dict[str, Any]) -> None:
    name = rule["alert"]
    fires = {one["alertname"] for test in TESTED for one in test.get("alert_rule_test", []) if one["exp_alerts"]}
    assert name in fires
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
    assert rule["labels"]["severity"] in ("page", "ticket")
    sections = dict(re.findall(r"^## (\w+)\n((?:(?!## ).*\n)*)", RUNBOOK, re.MULTILINE))
    for part in ("**Means**: ", "**Look at**: ", "**Do**: "):
        assert sections[name].count(part) == 1


def test_the_runbook_has_no_section_without_an_alert() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_panels_and_runbook_name_each_other_rightly() -> None:
    alerts = {rule["alert"] for rule in RULES}
    assert {name for panel in PANELS for name in re.findall(r"Runbook: (\w+)", panel["description"])} <= alerts
    named = {" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", RUNBOOK)}
    assert len(named) > 10
    assert [name for name in named if not any(title.startswith(name) for title in QUERIES)] == []


def test_the_commands_of_the_runbook_exist() -> None:
    said = re.findall(r"stitch submit (\w+)((?:\s--[\w-]+)*)", RUNBOOK)
    assert len(said) >= 10
    for job, options in said:
        assert job in JOBS
        known = {option for parameter in job_command(job).params for option in parameter.opts}
        assert set(options.split()) <= known, job
