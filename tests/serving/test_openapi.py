"""The document is whole, valid, and says what the code does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as hypothesis_settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from serving.api import parameters
from serving.api.access import EXPOSED
from serving.api.openapi import document, operations
from serving.app import create_app
from stitch.settings import load_settings
from tests.fakes import FakeLayers

SETTINGS = load_settings("conf/stitch.toml")
LAYERS = FakeLayers()  # without any row; but of what was never published, no count is known
LAYERS.published = {counter.name: datetime.now(UTC) for counter in SETTINGS.counters}
APP = create_app(SETTINGS, LAYERS)
UNDOCUMENTED = {"static", "described.openapi"}  # files, and the document itself


def test_the_document_is_valid_openapi_31() -> None:
    found = APP.test_client().get("/openapi.json").get_json()
    assert found["openapi"] == "3.1.0"
    validate(found)


def test_every_endpoint_is_documented() -> None:
    documented = {path for path, _ in operations(APP)}
    rules = {
        rule.rule
        for rule in APP.url_map.iter_rules()
        if rule.endpoint not in UNDOCUMENTED and not rule.endpoint.startswith("pages.")
    }
    assert rules == documented


def test_every_parameter_is_documented_and_every_documented_one_is_taken() -> None:
    taken = {*parameters.TOTALS, *parameters.SERIES, *parameters.TOP, *parameters.KEYS, *parameters.CORRECTIONS,
             *parameters.CHART}  # fmt: skip
    assert taken == set(parameters.PARAMETERS)
    paths = document(APP, SETTINGS)["paths"]
    for path, names in {
        "/v1/totals": parameters.TOTALS,
        "/v1/series": parameters.SERIES,
        "/v1/top": parameters.TOP,
        "/v1/chart": parameters.CHART,
    }.items():
        found = paths[path]["get"]["parameters"]
        assert [parameter["name"] for parameter in found] == list(names)
        assert all(len(parameter["description"]) > 10 for parameter in found)


@pytest.mark.parametrize("path", ["/v1/totals", "/v1/series", "/v1/top", "/v1/chart"])
def test_a_parameter_that_is_not_documented_is_refused(path: str) -> None:
    errors = APP.test_client().get(f"{path}?undocumented=1").get_json()["errors"]
    assert errors[0]["parameter"] == "undocumented"


def test_the_enumerations_are_those_of_the_settings() -> None:
    found = {p["name"]: p["schema"] for p in document(APP, SETTINGS)["paths"]["/v1/series"]["get"]["parameters"]}
    assert found["counters"]["items"]["enum"] == [counter.name for counter in SETTINGS.counters]
    assert found["granularity"]["enum"] == ["hour", "day", "week", "month"]


def test_the_limits_are_stated() -> None:
    limited = SETTINGS.model_copy(update={"serving": SETTINGS.serving.model_copy(update={"rate_limit": "600/minute"})})
    said = document(APP, limited)["info"]["description"]
    assert "1,000 keys in a request, 10,000 counts in an answer" in said and "600 requests a minute" in said


def test_the_shorter_of_both_bounds_of_a_key_is_stated() -> None:
    longer = SETTINGS.model_copy(update={"events": SETTINGS.events.model_copy(update={"max_text": 4096})})
    assert "keys of 1,024 bytes" in document(APP, longer)["info"]["description"]


def test_every_header_that_scripts_may_read_is_documented() -> None:
    limited = SETTINGS.model_copy(update={"serving": SETTINGS.serving.model_copy(update={"rate_limit": "600/minute"})})
    told = document(APP, limited)["paths"]["/v1/top"]["get"]["responses"]["200"]["headers"]
    assert {*EXPOSED, "Cache-Control"} == {*told, "Retry-After"}  # which is of refusals


# What schemathesis makes of the document: every check that it has, each in milliseconds over layers in memory.

ASKED = schemathesis.openapi.from_wsgi("/openapi.json", create_app(SETTINGS, LAYERS))
OPERATIONS = {found.ok().label: found.ok() for found in ASKED.get_all_operations()}
WITH_PARAMETERS = [label for label, operation in OPERATIONS.items() if operation.query or operation.body]
PLAIN = {"Accept-Encoding": "identity"}
# What JSON Schema cannot say: a range on the edges of buckets, a start before its end, a `compare` with a range, …
BEYOND_A_SCHEMA = ("start", "end", "tz", "compare", "match_weekday", "period", "after", "order")


def ask(label: str, mode: GenerationMode, prepare: Callable[[Any], None], **checks: Any) -> None:
    @seed(0)
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    @hypothesis_settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def asked(case: Any) -> None:
        prepare(case)
        case.call_and_validate(headers=PLAIN, **checks)

    asked()


@pytest.mark.parametrize("label", OPERATIONS)
def test_whatever_is_asked_is_answered_as_the_document_says(label: str) -> None:
    ask(label, GenerationMode.POSITIVE, lambda case: None, excluded_checks=[positive_data_acceptance])


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_the_document_allows_is_accepted(label: str) -> None:
    def within_a_schema(case: Any) -> None:
        for asked in (case.query, case.body):
            for name in BEYOND_A_SCHEMA if isinstance(asked, dict) else ():
                asked.pop(name, None)
        if label == "GET /v1/series":
            case.query.setdefault("granularity", "day")  # or a period
            case.query.setdefault("key", "t1")  # or keys
        if label == "POST /v1/series":
            case.body.setdefault("granularity", "day")
        if label == "GET /v1/totals":
            case.query.setdefault("key", ["t1"])  # or keys

    ask(label, GenerationMode.POSITIVE, within_a_schema)


@pytest.mark.parametrize("label", WITH_PARAMETERS)
def test_what_the_document_does_not_allow_is_refused(label: str) -> None:
    ask(label, GenerationMode.NEGATIVE, lambda case: None)
