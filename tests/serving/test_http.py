"""The conventions around every answer: caching, access, limits, headers, probes, figures."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from werkzeug.http import HTTP_STATUS_CODES

from serving.app import create_app
from serving.layers.interface import Corrected, OutOfTime, TooManyRows
from serving.observe import metrics
from serving.observe.logs import METHODS
from stitch.buckets import EPOCH
from stitch.figures import FIGURES
from stitch.merge import Increment, Total
from stitch.sections import ServingSettings
from stitch.settings import Settings, load_settings
from tests.fakes import FakeLayers

NOW = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
CUTOFF = datetime(2024, 3, 1, 10, tzinfo=UTC)
PATH = "/v1/totals?counters=plays&keys=t1"
CLOSED = f"{PATH}&start=2024-02-01&end=2024-03-01"
TOKEN, SCOPED = "s3cret", "scoped"


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings("conf/stitch.toml")


@pytest.fixture
def layers() -> FakeLayers:
    fake = FakeLayers()
    fake.published, fake.through = {"plays": CUTOFF, "likes": CUTOFF}, NOW - timedelta(seconds=2)
    fake.total_rows = {("plays", "t1", "all", EPOCH): Total(5, CUTOFF)}
    return fake


def reader(settings: Settings, layers: FakeLayers, **serving: Any) -> FlaskClient:
    chosen = ServingSettings(**{"cache": timedelta(0), **serving})
    return create_app(settings.model_copy(update={"serving": chosen}), layers, now=lambda: NOW).test_client()


def hashed(token: str, counters: list[str] | None = None) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(token.encode()).hexdigest(), "counters": counters}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# Behind a proxy


def test_everything_works_below_a_path_of_a_proxy(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers, trusted_proxies=1)
    below = {"X-Forwarded-Prefix": "/counts", "X-Forwarded-For": "1.2.3.4"}
    assert client.get("/", headers=below).location == "/counts/stats"
    assert client.get(PATH, headers=below).get_json()["data"] == [{"key": "t1", "counts": {"plays": 5}}]
    assert client.get("/openapi.json", headers=below).get_json()["servers"] == [{"url": "/counts"}]
    assert "servers" not in client.get("/openapi.json").get_json()
    for page in ("/stats", "/stats/track_id/t1", "/charts/plays", "/embed/plays/t1", "/docs",
                 "/stats/nothing"):  # fmt: skip
        text = client.get(page, headers=below).text
        assert 'data-root="/counts"' in text or page == "/docs"
        links = re.findall(r'(?:href|src|action|data-document)="(/[^"]*)"', text)
        assert links and all(link.startswith("/counts/") for link in links), links
        for link in links:
            assert client.get(link.removeprefix("/counts"), headers=below).status_code < 400 or "/vendor/" in link


def test_a_prefix_from_nobody_that_is_trusted_counts_for_nothing(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers)
    assert client.get("/", headers={"X-Forwarded-Prefix": "/counts"}).location == "/stats"


PREFIXES = {
    # what a proxy passes on → the path below which all is then
    "/counts": "/counts",
    "/a/b-c_d.e": "/a/b-c_d.e",
    "/counts/": "/counts",
    "": "",
    "/": "",
    "//evil.example": "",
    "/\\evil.example": "",
    "https://evil.example": "",
    "evil.example": "",
    "/a//b": "",
    "/../a": "",
    "/a?b": "",
    "/a%2F/b": "",
    '/a"b': "",
    "/a, //evil.example": "",
}


@pytest.mark.parametrize(("given", "below"), PREFIXES.items())
def test_a_prefix_that_is_no_plain_path_counts_for_nothing(
    settings: Settings, layers: FakeLayers, given: str, below: str
) -> None:
    client = reader(settings, layers, trusted_proxies=1)
    assert client.get("/", headers={"X-Forwarded-Prefix": given}).location == f"{below}/stats"
    told = client.get("/openapi.json", headers={"X-Forwarded-Prefix": given})
    assert told.get_json().get("servers") == ([{"url": below}] if below else None)
    assert "X-Forwarded-Prefix" in told.vary


# Caching


def test_an_answer_that_did_not_change_is_304_and_one_that_did_is_not(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers)
    first = client.get(PATH)
    etag = first.headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    again = client.get(PATH, headers={"If-None-Match": etag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)
    assert "max-age" in again.headers["Cache-Control"]
    layers.total_rows["plays", "t1", "all", EPOCH] = Total(6, CUTOFF)
    assert client.get(PATH, headers={"If-None-Match": etag}).status_code == 200


def test_what_is_before_the_cutoff_is_kept_for_an_hour_and_what_is_open_for_seconds(
    settings: Settings, layers: FakeLayers
) -> None:
    client = reader(settings, layers, cache=timedelta(seconds=1))

    def max_age(path: str) -> int:
        found = re.fullmatch(
            r"public, max-age=(\d+), stale-while-revalidate=(\d+), stale-if-error=86400",
            client.get(path).headers["Cache-Control"],
        )
        assert found and int(found[2]) == min(30, int(found[1]))  # what is old by more than its age is not given
        return int(found[1])

    assert {max_age(f"{PATH}{n}") for n in range(40)} == {1, 2}
    lifetimes = {max_age(f"{CLOSED}&key={n}") for n in range(10)}
    assert len(lifetimes) > 1 and 3240 <= min(lifetimes) <= max(lifetimes) <= 3600  # with jitter, and never permanently
    layers.down = {"realtime"}
    assert client.get(f"{PATH}-new").headers["Cache-Control"] == "no-store"  # partial: kept by nobody


MIDNIGHTS = {
    # what is asked → when it begins to be another range
    "/v1/totals?counters=plays&keys=t1&period=yesterday": datetime(2024, 3, 2, tzinfo=UTC),
    "/v1/totals?counters=plays&keys=t1&period=yesterday&tz=Asia/Tokyo": datetime(2024, 3, 2, 15, tzinfo=UTC),
    "/v1/series?counters=plays&key=t1&period=yesterday": datetime(2024, 3, 2, tzinfo=UTC),
    "/v1/top?counter=creator_plays&key=c&period=last_week": datetime(2024, 3, 4, tzinfo=UTC),
    "/v1/totals?counters=plays&keys=t1&period=last_month": datetime(2024, 4, 1, tzinfo=UTC),
    "/v1/totals?counters=plays&keys=t1&period=last_month&compare=previous_period": datetime(2024, 4, 1, tzinfo=UTC),
    "/v1/series?counters=plays&key=t1&granularity=hour": datetime(2024, 3, 2, tzinfo=UTC),
    "/v1/totals?counters=plays&keys=t1&period=24h": datetime(2024, 3, 2, tzinfo=UTC),
}


@pytest.mark.parametrize(("path", "midnight"), MIDNIGHTS.items())
@pytest.mark.parametrize("seconds", [10, 1800])
def test_a_period_is_kept_no_longer_than_until_it_is_another(
    settings: Settings, layers: FakeLayers, path: str, midnight: datetime, seconds: int
) -> None:
    now = [midnight - timedelta(seconds=seconds)]
    layers.published = dict.fromkeys(("plays", "creator_plays"), midnight - timedelta(hours=1))
    layers.through = midnight
    chosen = settings.model_copy(update={"serving": ServingSettings(cache=timedelta(seconds=2))})
    client = create_app(chosen, layers, now=lambda: now[0]).test_client()

    def asked() -> tuple[int, str]:
        answer = client.get(path)
        ages = re.findall(r"(?:max-age|stale-while-revalidate)=(\d+)", answer.headers["Cache-Control"])
        return sum(map(int, ages)), answer.get_json()["query"]["start"]

    kept, start = asked()
    assert kept <= seconds - 2  # which it may be old by already, out of the memory of the process
    assert kept > 1000 or seconds == 10 or "24h" in path or "hour" in path
    now[0] = midnight - timedelta(seconds=0.02)
    layers.through = now[0]
    client.get(f"{path}&layer=merged")
    time.sleep(0.03)
    now[0] = midnight
    assert client.get(f"{path}&layer=merged").get_json()["query"]["start"] > start


def test_head_answers_as_get_without_a_body(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers)
    get, head = client.get(PATH), client.head(PATH)
    assert (head.status_code, head.data) == (200, b"")
    assert {name: head.headers[name] for name in ("ETag", "Content-Length", "Content-Type")} == {
        name: get.headers[name] for name in ("ETag", "Content-Length", "Content-Type")
    }


def test_a_long_answer_is_gzipped_with_an_etag_of_its_own(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers)
    path = "/v1/series?counters=plays&key=t1&period=30d"
    plain, packed = client.get(path), client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.data) == plain.data
    assert "Date" not in plain.headers and "Date" not in packed.headers  # the server gives it: pages cannot read two
    assert packed.headers["ETag"] != plain.headers["ETag"]  # strong: of these very bytes
    assert "Accept-Encoding" in packed.headers["Vary"]
    headers = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}
    assert client.get(path, headers=headers).status_code == 304


def test_answers_agree_with_each_other_while_rows_are_remembered(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers, cache=timedelta(seconds=60))
    series = "/v1/series?counters=plays&key=t1&granularity=hour&start=2024-03-01&end=2024-03-02"
    layers.increment_rows = [("plays", "t1", Increment(CUTOFF, CUTOFF, 1))]
    assert client.get(PATH).get_json()["data"][0]["counts"] == {"plays": 6}
    layers.increment_rows = [("plays", "t1", Increment(CUTOFF, CUTOFF, 4))]
    assert client.get(series).get_json()["totals"] == {"plays": 1}  # asked for the first time, from the rows of before
    assert client.get(PATH).get_json()["data"][0]["counts"] == {"plays": 6}


# Access


def test_without_tokens_in_the_settings_everybody_reads(settings: Settings, layers: FakeLayers) -> None:
    assert reader(settings, layers).get(PATH, headers=bearer("whatever")).status_code == 200


ACCESS = {
    # who asks: for plays, for likes
    "": (401, 401),
    TOKEN: (200, 200),
    SCOPED: (200, 403),
    "guessed": (401, 401),
}


@pytest.mark.parametrize(("token", "expected"), ACCESS.items())
def test_a_token_reads_the_counters_of_its_scope(
    settings: Settings, layers: FakeLayers, token: str, expected: tuple[int, int]
) -> None:
    client = reader(settings, layers, tokens={"all": hashed(TOKEN), "some": hashed(SCOPED, ["plays"])})
    headers = bearer(token) if token else {}
    answers = [client.get(f"/v1/totals?counters={name}&keys=t1", headers=headers) for name in ("plays", "likes")]
    assert tuple(answer.status_code for answer in answers) == expected
    for answer in answers:
        if answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        if answer.status_code == 200:
            assert answer.headers["Cache-Control"].startswith("private") and "Authorization" in answer.headers["Vary"]
    both = client.get("/v1/totals?counters=plays,likes&keys=t1", headers=bearer(SCOPED))
    assert (both.status_code, both.get_json()["detail"]) == (403, "the token 'some' may not read likes")


def test_public_counters_need_no_token_and_lists_show_what_may_be_read(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers, tokens={"some": hashed(SCOPED, ["likes"])}, public=["plays"])
    assert client.get(PATH).status_code == 200
    assert client.get("/v1/totals?counters=plays,likes&keys=t1", headers=bearer(SCOPED)).status_code == 200
    assert client.get("/v1/totals?counters=likes&keys=t1").status_code == 401
    assert [row["name"] for row in client.get("/v1/counters").get_json()["data"]] == ["plays"]
    assert client.get("/healthz").status_code == client.get("/metrics").status_code == 200


def test_more_requests_than_allowed_are_429_and_told_when_to_come_again(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers, rate_limit="2/minute", tokens={"a": hashed("a"), "b": hashed("b")})
    first = client.get(PATH, headers=bearer("a"))
    assert first.headers["RateLimit-Policy"] == '"requests";q=2;w=60'
    assert re.fullmatch(r'"requests";r=1;t=([1-9]|[1-5][0-9]|60)', first.headers["RateLimit"])
    assert "Retry-After" not in first.headers
    client.get(PATH, headers=bearer("a"))
    refused = client.get(PATH, headers=bearer("a"))
    assert (refused.status_code, refused.content_type) == (429, "application/problem+json")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert client.get(PATH, headers=bearer("b")).status_code == 200  # each token has its own
    assert {client.get("/healthz").status_code for _ in range(5)} == {200}


def test_pages_of_allowed_origins_may_read_and_others_may_not(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers, cors_origins=["https://stats.example.com"])
    allowed = client.get(PATH, headers={"Origin": "https://stats.example.com"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://stats.example.com"
    assert "ETag" in allowed.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in client.get(PATH, headers={"Origin": "https://evil.example.com"}).headers
    preflight = client.options(
        PATH,
        headers={
            "Origin": "https://stats.example.com",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert (
        "Access-Control-Allow-Origin" not in reader(settings, layers).get(PATH, headers={"Origin": "https://x"}).headers
    )


def test_browsers_are_told_to_be_careful(settings: Settings, layers: FakeLayers) -> None:
    headers = reader(settings, layers).get(PATH).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "same-origin"


HOSTILE = [
    "a/b",
    "a b",
    "🎵",
    "'; DROP TABLE totals; --",
    "%00",
    "a\u0000b",
    "../..",
    "<script>",
    "x" * 1024,
    "ключ",
    "a,b",
]


@pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_a_key(settings: Settings, layers: FakeLayers, key: str) -> None:
    layers.total_rows["plays", key, "all", EPOCH] = Total(7, CUTOFF)
    client = reader(settings, layers)
    got = client.get("/v1/totals", query_string={"counters": "plays", "key": key}).get_json()
    posted = client.post("/v1/totals", json={"counters": ["plays"], "keys": [key]}).get_json()
    assert got["data"] == posted["data"] == [{"key": key, "counts": {"plays": 7}}]


# What the reader says of itself


def test_every_answer_carries_the_id_of_its_request_and_a_line_in_the_log(
    settings: Settings, layers: FakeLayers, caplog: pytest.LogCaptureFixture
) -> None:
    client = reader(settings, layers)
    with caplog.at_level(logging.INFO, "stitch.access"):
        assert client.get(PATH, headers={"X-Request-ID": "trace-1.a"}).headers["X-Request-ID"] == "trace-1.a"
        made = client.get(PATH, headers={"X-Request-ID": "not ok\n"[:-1]}).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    lines: list[Any] = [record.msg for record in caplog.records]
    assert [(line["request_id"], line["status"], line["path"]) for line in lines] == [
        ("trace-1.a", 200, "/v1/totals"),
        (made, 200, "/v1/totals"),
    ]


def test_ready_says_which_layer_is_missing(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers)
    ready = client.get("/readyz")
    assert (ready.status_code, ready.get_json()) == (200, {"status": "ready", "missing": [], "reasons": []})
    layers.down = {"batch"}
    degraded = client.get("/readyz")
    assert (degraded.status_code, degraded.get_json()["missing"]) == (200, ["batch"])
    assert degraded.get_json()["reasons"] == ["the batch layer does not answer"]
    layers.down = {"batch", "realtime"}
    gone = client.get("/readyz")
    assert (gone.status_code, gone.get_json()["status"]) == (503, "unavailable")


DEGRADED = {
    # how far the increments are behind, how old the cutoff is: the reasons
    (timedelta(seconds=59), timedelta(days=9)): [],
    (timedelta(minutes=9), timedelta(hours=2)): ["the increments are 9 min behind: look after streaming_counts"],
    (timedelta(seconds=2), timedelta(days=10)): [
        "a cutoff is 10 d old, and increments expire after 14 d (realtime.retention): let batch_totals publish before "
        "that"
    ],
}


@pytest.mark.parametrize(("ages", "reasons"), DEGRADED.items())
def test_ready_is_degraded_by_lag_and_well_before_increments_expire_that_no_batch_counted(
    settings: Settings, layers: FakeLayers, ages: tuple[timedelta, timedelta], reasons: list[str]
) -> None:
    layers.through = NOW - ages[0]
    layers.published["likes"] = NOW - ages[1]
    answer = reader(settings, layers).get("/readyz")
    assert (answer.status_code, answer.get_json()["reasons"]) == (200, reasons)
    assert answer.get_json()["status"] == ("degraded" if reasons else "ready")


def test_a_layer_that_is_left_alone_is_told_though_what_it_last_said_is_remembered(
    settings: Settings, layers: FakeLayers, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = reader(settings, layers, cache=timedelta(seconds=60))
    assert client.get("/readyz").get_json() == {"status": "ready", "missing": [], "reasons": []}
    monkeypatch.setattr(layers, "circuits", lambda: {"batch": "timed out"})
    assert client.get("/readyz").get_json()["missing"] == ["batch"]
    assert client.get("/v1/status").get_json()["layers"]["batch"]["up"] is False
    assert 'stitch_layer_up{layer="batch"} 0.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [(OutOfTime(5), 503, "could not be read within 5 s (serving.timeout): ask for less at a time"),
     (TooManyRows(1000), 400, "key: there are more than 1,000 rows to read (serving.max_rows)")],
)  # fmt: skip
def test_a_key_of_a_million_members_is_refused_and_not_answered_from_one_layer(
    settings: Settings, layers: FakeLayers, monkeypatch: pytest.MonkeyPatch,
    failure: Exception, status: int, said: str,
) -> None:  # fmt: skip
    def fail() -> None:
        raise failure

    monkeypatch.setattr(layers, "member_totals", lambda _: fail)
    layers.total_rows["creator_plays", "c1", "all", EPOCH] = Total(5, CUTOFF)
    answer = reader(settings, layers).get("/v1/top?counter=creator_plays&key=c1")
    assert answer.status_code == status and said in answer.get_json()["detail"]
    assert ("Retry-After" in answer.headers) is (status == 503)


def test_metrics_count_requests_caches_layer_errors_and_ages(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers, cache=timedelta(seconds=60))
    for _ in range(3):
        client.get(PATH)
    layers.down = {"realtime"}
    client.get(f"{PATH}-another")
    text = client.get("/metrics").text
    assert re.search(r'stitch_http_requests_total\{endpoint="totals",method="GET",status="200"\} [1-9]', text)
    assert re.search(r'stitch_http_request_seconds_bucket\{endpoint="totals",le="0.005"\} \d', text)
    assert re.search(r'stitch_cache_reads_total\{cache="totals",outcome="hit"\} [1-9]', text)
    assert re.search(r'stitch_layer_errors_total\{layer="realtime"\} [1-9]', text)
    assert re.search(r'\nstitch_cutoff_timestamp_seconds\{counter="plays"\} 1\.7092872e\+09\n', text)
    assert re.search(r"\nstitch_realtime_through_timestamp_seconds 1\.709296198e\+09\n", text)
    away = reader(settings, layers).get("/metrics").text
    assert "\nstitch_realtime_through_timestamp_seconds" not in away  # not known now, and so not said
    assert '\nstitch_layer_up{layer="realtime"} 0.0' in away


def test_json_is_compact_and_keeps_the_order_of_the_settings(settings: Settings, layers: FakeLayers) -> None:
    answer = reader(settings, layers).get("/v1/counters")
    assert b": " not in answer.data
    assert [row["name"] for row in json.loads(answer.data)["data"]][:3] == ["plays", "likes", "comments"]


def test_every_metric_is_documented_and_every_documented_one_is_there() -> None:
    """Whatever the reader counts is known to the registry as soon as it is imported; jobs say it in one literal."""
    kinds = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for registered in (REGISTRY.collect(), metrics.Layers({}, {}, None).collect())
        for family in registered
        if family.name.startswith("stitch_")
    } | {figure.exported: figure.type for figure in FIGURES}
    page = Path("docs/metrics.md").read_text("utf-8")
    assert dict(re.findall(r"^\| `(stitch_\w+)` \| (\w+) \|", page, re.MULTILINE)) == kinds
    assert len(kinds) >= 7 + len(FIGURES)


def test_the_labels_of_metrics_are_as_they_are_documented() -> None:
    counted = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    labels = {family.name: set(one._labelnames) for one in counted for family in one.collect()}
    families = cast("Iterator[GaugeMetricFamily]", metrics.Layers({}, {}, NOW).collect())
    labels |= {family.name: set(family._labelnames) for family in families}
    labels |= {figure.name: set(figure.labels) for figure in FIGURES}
    page = Path("docs/metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(stitch_\w+?)(?:_total)?` \| \w+ \| (.*?) ?\|", page, re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", said)) for name, said in rows} == labels


def test_labels_of_metrics_have_few_values_whatever_is_asked(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers, cache=timedelta(seconds=60))
    pattern = r'stitch_http_requests_total\{endpoint="(.*?)",method="(.*?)",status="(.*?)"\}'
    before = set(re.findall(pattern, client.get("/metrics").text))  # by other tests
    for method in ("BREW", "PROPFIND", "x" * 50):
        client.open(PATH, method=method)
    for path in ("/nothing", "/v1/nothing", f"/v1/{'x' * 99}", "/stats/a/b/c", "/%00", "/v1//totals", PATH, PATH):
        client.get(path)
    now = set(re.findall(pattern, client.get("/metrics").text))
    found = now - before
    endpoints = {rule.endpoint.rpartition(".")[2] for rule in client.application.url_map.iter_rules()}
    assert {endpoint for endpoint, _, _ in found} <= {*endpoints, "none"}
    assert {method for _, method, _ in found} <= {*METHODS, "other"} and ("none", "other", "405") in now
    assert {status for _, _, status in found} <= {str(status) for status in HTTP_STATUS_CODES}


# What caches may do


def etag_and_meta(client: FlaskClient, path: str) -> tuple[str, Any]:
    answer = client.get(path)
    return answer.headers["ETag"], answer.get_json().get("meta")


CLOSED_PATHS = [
    CLOSED,
    "/v1/series?counters=plays&key=t1&granularity=day&start=2024-02-01&end=2024-03-01",
    "/v1/top?counter=creator_plays&key=t1&start=2024-02-01&end=2024-03-01",
]


@pytest.mark.parametrize("path", CLOSED_PATHS)
def test_the_etag_of_a_closed_range_changes_with_its_counts_and_with_nothing_else(
    settings: Settings, layers: FakeLayers, path: str
) -> None:
    client = reader(settings, layers)
    layers.published["creator_plays"] = CUTOFF
    first, meta = etag_and_meta(client, path)
    layers.through = NOW
    layers.published = {name: CUTOFF + timedelta(hours=1) for name in layers.published}
    again, moved = etag_and_meta(client, path)
    assert (again, moved != meta) == (first, True) and first.startswith("W/")
    assert client.get(path, headers={"If-None-Match": first}).status_code == 304
    late = datetime(2024, 2, 9, tzinfo=UTC)
    for counter in ("plays", "creator_plays"):
        layers.increment_rows.append((counter, "t1", Increment(late, CUTOFF + timedelta(hours=1), 1)))
    assert etag_and_meta(client, path)[0] != first


def test_what_is_open_has_an_etag_of_its_bytes(settings: Settings, layers: FakeLayers) -> None:
    """A page shows by `meta` how far the counts are, so it must get it."""
    client = reader(settings, layers)
    first, _ = etag_and_meta(client, PATH)
    layers.through = NOW
    assert etag_and_meta(client, PATH)[0] != first and not first.startswith("W/")


def test_a_closed_answer_at_hand_is_304_for_its_etag(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers, cache=timedelta(seconds=60))
    etag = client.get(CLOSED).headers["ETag"]
    for sent in (etag, etag.removeprefix("W/"), f'"other", {etag}'):
        answer = client.get(CLOSED, headers={"If-None-Match": sent})
        assert (answer.status_code, answer.headers["ETag"]) == (304, etag)


def test_no_cache_keeps_the_answer_to_a_post_or_an_error(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers)
    posted = client.post("/v1/totals", json={"counters": ["plays"], "keys": ["t1"], "start": "2024-02-01",
                                             "end": "2024-03-01"})  # fmt: skip
    wrong = [client.get("/v1/totals"), client.get("/nope"), client.delete(PATH)]
    assert [posted.status_code, *(answer.status_code for answer in wrong)] == [200, 400, 404, 405]
    for answer in (posted, *wrong):
        assert (answer.headers["Cache-Control"], answer.headers.get("ETag")) == ("no-store", None)


@pytest.mark.parametrize("origins", [["https://stats.example.com"], ["*"], ["https://a.example", "https://b.example"]])
@pytest.mark.parametrize("origin", [{}, {"Origin": "https://stats.example.com"}, {"Origin": "https://evil.example"}])
def test_what_depends_on_the_origin_says_so_to_caches(
    settings: Settings, layers: FakeLayers, origins: list[str], origin: dict[str, str]
) -> None:
    client = reader(settings, layers, cors_origins=origins, cache=timedelta(seconds=60))
    for path in (PATH, PATH, "/v1/totals", "/openapi.json", "/static/page.css"):
        vary = client.get(path, headers=origin).headers["Vary"]
        assert [name.strip() for name in vary.split(",")].count("Origin") == 1


def test_retry_after_is_told_with_429_and_503_alone(settings: Settings, layers: FakeLayers) -> None:
    client = reader(settings, layers, rate_limit="3/hour")
    answers = [client.get(PATH), client.get("/v1/totals")]
    layers.down = {"batch", "realtime"}
    answers += [client.get(PATH), client.get(PATH)]
    found = [(answer.status_code, "Retry-After" in answer.headers) for answer in answers]
    assert found == [(200, False), (400, False), (503, True), (429, True)]


# CSV


CELLS = {
    # a key → its cell
    "=1+1": "'=1+1",
    "+49": "'+49",
    "-5": "'-5",
    "@SUM(A1)": "'@SUM(A1)",
    "\tx": "'\tx",
    "\rx": '"\'\rx"',
    "＝1": "'＝1",
    "a=1": "a=1",
    ";=1+1": ";'=1+1",
    "a;;-1;b": "a;;'-1;b",
    "a;b": "a;b",
    "t1": "t1",
    'a"b': '"a""b"',
}


def test_no_cell_is_a_formula_and_numbers_stay_numbers(settings: Settings, layers: FakeLayers) -> None:
    far = 2**53 + 1
    for key in CELLS:
        layers.total_rows["plays", key, "all", EPOCH] = Total(-far, CUTOFF)
    layers.published["creator_plays"] = CUTOFF
    layers.total_rows["creator_plays", "c", "all", EPOCH] = Total(-3, CUTOFF)
    layers.member_total_rows["creator_plays", "c", "all", EPOCH, "=cmd"] = Total(-3, CUTOFF)
    client = reader(settings, layers)
    rows = client.post("/v1/totals", json={"counters": ["plays"], "keys": list(CELLS), "format": "csv"}).text
    assert rows == "key,plays\r\n" + "".join(f"{cell},-{far}\r\n" for cell in CELLS.values())
    assert client.get("/v1/top?counter=creator_plays&key=c&format=csv").text == "member,count\r\n'=cmd,-3\r\n"
    layers.correction_rows = [("plays", Corrected(date(2024, 2, 28), CUTOFF, far, 0))]
    changed = client.get("/v1/corrections?counter=plays&format=csv").text
    assert changed.endswith(f"2024-02-28,2024-03-01T10:00:00Z,{far},0,-{far}\r\n")


FILES = {
    f"{PATH}&format=csv": "plays-t1.csv",
    "/v1/series?counters=plays,likes&key=t1&period=7d&format=csv": "plays-likes-t1.csv",
    "/v1/keys?counter=plays&format=csv": "plays.csv",
    "/v1/totals?counters=plays&key=../..%2Fetc%22;x&format=csv": "plays-etc-x.csv",
    "/v1/totals?counters=plays&key=ключ&format=csv": f"plays.csv; filename*=UTF-8''plays-{quote('ключ')}.csv",
}


@pytest.mark.parametrize(("path", "name"), FILES.items())
def test_a_download_has_a_name_and_a_byte_order_mark(
    settings: Settings, layers: FakeLayers, path: str, name: str
) -> None:
    client = reader(settings, layers)
    plain, file = client.get(path), client.get(f"{path}&download=true")
    assert file.headers["Content-Disposition"] == f"attachment; filename={name}"
    assert file.data == b"\xef\xbb\xbf" + plain.data and "Content-Disposition" not in plain.headers
    assert file.headers["ETag"] != plain.headers["ETag"]


def test_csv_is_gzipped(settings: Settings, layers: FakeLayers) -> None:
    path = "/v1/series?counters=plays&key=t1&period=30d&format=csv"
    packed = reader(settings, layers).get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.data).startswith(b"start,end,plays")


def test_csv_says_in_headers_what_json_has_beside_the_rows(settings: Settings, layers: FakeLayers) -> None:
    layers.published["creator_plays"] = CUTOFF
    layers.total_rows["creator_plays", "c", "all", EPOCH] = Total(10, CUTOFF)
    for member in ("a", "b", "ü,b"):
        layers.member_total_rows["creator_plays", "c", "all", EPOCH, member] = Total(3, CUTOFF)
    client = reader(settings, layers)
    path = "/v1/top?counter=creator_plays&key=c&limit=2"
    told, table = client.get(path).get_json(), client.get(f"{path}&format=csv")
    assert (table.headers["Stitch-Others"], table.headers["Stitch-Total"]) == ("4", "10")
    assert unquote(table.headers["Stitch-Next"]) == told["next"]
    last = client.get(f"{path}&format=csv&after={table.headers['Stitch-Next']}")
    assert last.text == 'member,count\r\n"ü,b",3\r\n' and "Stitch-Next" not in last.headers
    layers.total_rows |= {("plays", key, "all", EPOCH): Total(1, CUTOFF) for key in ("a&b=ü", "z")}
    keys = client.get("/v1/keys?counter=plays&limit=1&format=csv")
    assert unquote(keys.headers["Stitch-Next"]) == "a&b=ü"
    following = client.get(f"/v1/keys?counter=plays&limit=1&format=csv&after={keys.headers['Stitch-Next']}")
    assert following.text == "key\r\nt1\r\n"
