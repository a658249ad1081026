"""Who may read what: tokens and links, of counters and keys; hidden names appear nowhere, and nothing leaks by a view
that forgets to ask."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
import socket
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import escape
from pydantic import SecretStr

from serving.api import access
from serving.api.rate_limit import BadStorage, RateLimit, address
from serving.api.scope import Scopes
from serving.app import create_app
from serving.layers.connection import Connection, Limits
from serving.layers.interface import Corrected, Deadline, LayerDown, Ran
from serving.reading.queries import Span, TotalsQuery
from serving.server import usable
from stitch.buckets import EPOCH
from stitch.cli import main
from stitch.clusters import BatchSettings
from stitch.grants import BadToken, Grant, sign
from stitch.merge import Ranking, Total
from stitch.sections import ServingSettings
from stitch.settings import Settings, SettingsError, load_settings
from stitch.zones import UTC_CALENDAR
from tests.conftest import free_ports
from tests.fakes import FakeLayers

NOW = datetime(2024, 3, 1, 12, 30, tzinfo=UTC)
CUTOFF = datetime(2024, 3, 1, 10, tzinfo=UTC)
NEW, OLD, FOREIGN = "n" * 32, "o" * 32, "f" * 32
SECRETS = f"{NEW}\n{OLD}\n"
HIDDEN = 424242  # every count of what a caller may not see
SHOWN = ["plays"]
SIGNED = Scopes(ServingSettings(token_secrets=SecretStr(SECRETS)))
RESTRICTED: dict[str, Any] = {"public": SHOWN, "token_secrets": SECRETS}


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings("conf/stitch.toml")


@pytest.fixture
def layers(settings: Settings) -> FakeLayers:
    fake = FakeLayers()
    fake.published = {counter.name: CUTOFF for counter in settings.counters}
    fake.through = NOW - timedelta(seconds=2)
    fake.run_rows = [Ran(CUTOFF, "incremental", "published", CUTOFF, figures={"records": HIDDEN})]
    for counter in settings.counters:
        for key in ("t1", "t2", "c1/a"):
            count = 5 if (counter.name, key) == ("plays", "t1") else HIDDEN
            fake.total_rows[counter.name, key, "all", EPOCH] = Total(count, CUTOFF)
        fake.member_total_rows[counter.name, "t1", "all", EPOCH, "m"] = Total(HIDDEN, CUTOFF)
        fake.chart_rows[counter.name, "all", EPOCH] = Ranking(["t2", "t1"], [HIDDEN, 5], CUTOFF)
        fake.correction_rows.append((counter.name, Corrected(date(2024, 2, 28), CUTOFF, HIDDEN, HIDDEN + 1)))
    return fake


def reader_app(settings: Settings, layers: FakeLayers, **serving: Any) -> Flask:
    chosen = ServingSettings(**{"cache": timedelta(0), **serving})
    return create_app(settings.model_copy(update={"serving": chosen}), layers, now=lambda: NOW)


def client_of(settings: Settings, layers: FakeLayers, **serving: Any) -> FlaskClient:
    return reader_app(settings, layers, **serving).test_client()


def all_with_charts(settings: Settings) -> Settings:
    charted = [counter.model_copy(update={"chart": True}) for counter in settings.counters]
    return settings.model_copy(update={"counters": charted})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed(secret: str = NEW, days: float = 1, **grant: Any) -> str:
    return sign(Grant("me", **grant), datetime.now(UTC) + timedelta(days=days), [secret])


def totals(counter: str, key: str) -> str:
    return f"/v1/totals?counters={counter}&key={key}"


# Tokens of keys


KEYS_OF: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    # what the token grants → the answer for each key of a counter that is not public
    "one key": ({"counters": ("likes",), "keys": ("t1",)}, {"t1": 200, "t2": 403, "c1/a": 403}),
    "a prefix": ({"counters": ("likes",), "key_prefix": "c1/"}, {"t1": 403, "t2": 403, "c1/a": 200}),
    "both": ({"counters": ("likes",), "keys": ("t2",), "key_prefix": "c1/"}, {"t1": 403, "t2": 200, "c1/a": 200}),
    "no key": ({"counters": ("likes",), "keys": ()}, {"t1": 403, "t2": 403, "c1/a": 403}),
    "all keys": ({"counters": ("likes",)}, {"t1": 200, "t2": 200, "c1/a": 200}),
    "all of it": ({}, {"t1": 200, "t2": 200, "c1/a": 200}),
    "another counter": ({"counters": ("comments",)}, {"t1": 403, "t2": 403, "c1/a": 403}),
}


@pytest.mark.parametrize(("grant", "expected"), KEYS_OF.values(), ids=KEYS_OF)
def test_a_token_reads_its_keys_and_no_others(
    settings: Settings, layers: FakeLayers, grant: dict[str, Any], expected: dict[str, int]
) -> None:
    client = client_of(settings, layers, **RESTRICTED)
    headers = bearer(signed(**grant))
    for path in ("/v1/totals?counters=likes&key=", "/v1/series?counters=likes&period=7d&key="):
        assert {key: client.get(f"{path}{key}", headers=headers).status_code for key in expected} == expected
    for key, status in expected.items():
        asked = client.post("/v1/totals", json={"counters": ["likes"], "keys": [key]}, headers=headers)
        assert asked.status_code == status
        public = client.get(totals("plays", key), headers=headers)
        assert public.status_code == 200  # as without a token
    kept = {"sha256": hashlib.sha256(b"kept").hexdigest(), **{n: list(v) if n != "key_prefix" else v
                                                             for n, v in grant.items()}}  # fmt: skip
    client = client_of(settings, layers, public=SHOWN, tokens={"kept": kept})
    found = {key: client.get(totals("likes", key), headers=bearer("kept")).status_code for key in expected}
    assert found == expected


def test_one_foreign_key_among_many_refuses_all_of_them(settings: Settings, layers: FakeLayers) -> None:
    client = client_of(settings, layers, **RESTRICTED)
    asked = client.get("/v1/totals?counters=likes&keys=t1,t2", headers=bearer(signed(keys=("t1",))))
    assert (asked.status_code, asked.get_json()["detail"]) == (403, "the token 'me' may not read likes of the key 't2'")


def test_how_many_records_runs_had_is_for_those_who_may_read_everything(settings: Settings, layers: FakeLayers) -> None:
    client = client_of(settings, layers, **RESTRICTED)
    grants: list[dict[str, Any]] = [{}, {"counters": ("plays", "likes")}, {"keys": ("t1",)}, {"key_prefix": "c1/"}]
    told = [client.get("/v1/status", headers=bearer(signed(**grant))).get_json()["runs"] for grant in grants]
    assert [runs[0]["figures"] for runs in told] == [{"records": HIDDEN}, {}, {}, {}]
    assert client.get("/v1/status").get_json()["runs"][0]["figures"] == {}


def test_what_is_of_all_keys_together_is_not_for_a_token_of_some(settings: Settings, layers: FakeLayers) -> None:
    client = client_of(settings, layers, **RESTRICTED)
    path = "/v1/corrections?counter=likes"
    assert client.get(path, headers=bearer(signed(keys=("t1",)))).status_code == 403
    assert client.get(path, headers=bearer(signed())).status_code == 200


LISTING: list[tuple[dict[str, Any] | None, str, int]] = [
    (None, "likes", 401),
    (None, "plays", 401),  # public, and still nobody's to list
    ({}, "likes", 403),
    ({"list_keys": True}, "likes", 200),
    ({"list_keys": True, "counters": ("plays",)}, "likes", 403),
    ({"list_keys": True, "keys": ("t1",)}, "likes", 403),
    ({"list_keys": True, "key_prefix": "c1/"}, "likes", 403),
    ({"list_keys": True, "key_prefix": "c1/"}, "likes&prefix=c1/", 200),
    ({"list_keys": True, "key_prefix": "c1/"}, "likes&prefix=c1", 403),
]


@pytest.mark.parametrize(("grant", "asked", "expected"), LISTING)
def test_which_keys_there_are_is_a_right_of_its_own(
    settings: Settings, layers: FakeLayers, grant: dict[str, Any] | None, asked: str, expected: int
) -> None:
    client = client_of(settings, layers, **RESTRICTED)
    headers = {} if grant is None else bearer(signed(**grant))
    assert client.get(f"/v1/keys?counter={asked}", headers=headers).status_code == expected


@pytest.mark.parametrize(("grant", "asked", "expected"), [row for row in LISTING if "&" not in row[1]])
def test_a_chart_takes_the_right_to_list_all_keys(
    settings: Settings, layers: FakeLayers, grant: dict[str, Any] | None, asked: str, expected: int
) -> None:
    client = client_of(all_with_charts(settings), layers, **RESTRICTED)
    headers = {} if grant is None else bearer(signed(**grant))
    answer = client.get(f"/v1/chart?counter={asked}", headers=headers)
    assert (answer.status_code, str(HIDDEN) in answer.text) == (expected, expected == 200)


def test_keys_of_public_counters_are_listed_where_the_settings_say_so(settings: Settings, layers: FakeLayers) -> None:
    client = client_of(all_with_charts(settings), layers, list_public_keys=True, **RESTRICTED)
    for path in ("/v1/keys", "/v1/chart"):
        assert [client.get(f"{path}?counter={name}").status_code for name in ("plays", "likes")] == [200, 401]


# Signed tokens


def test_a_token_that_any_of_the_secrets_signed_is_accepted(settings: Settings, layers: FakeLayers) -> None:
    client = client_of(settings, layers, **RESTRICTED)
    found = {s: client.get(totals("likes", "t1"), headers=bearer(signed(s))).status_code for s in (NEW, OLD, FOREIGN)}
    assert found == {NEW: 200, OLD: 200, FOREIGN: 401}
    rotated = client_of(settings, layers, token_secrets=NEW)
    assert rotated.get(totals("likes", "t1"), headers=bearer(signed(OLD))).status_code == 401


def none_alg() -> str:
    _, said, _ = signed().split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    return f"{none}.{said}."


def changed() -> str:
    head, _, signature = signed(keys=("t1",)).split(".")
    more = signed().split(".")[1]
    return f"{head}.{more}.{signature}"


def claims(**said: Any) -> str:
    soon = datetime.now(UTC) + timedelta(days=1)
    whole = {"sub": "me", "aud": "stitch", "exp": soon, **said}
    return jwt.encode({name: value for name, value in whole.items() if value is not None}, NEW, "HS256")


BAD: dict[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: signed(days=-0.01), "the token has expired: ask for a new one"),
    "forged": (lambda: signed(FOREIGN), "the token was not signed by this reader, or its secret was changed"),
    "changed": (changed, "the token was not signed by this reader, or its secret was changed"),
    "none": (none_alg, "the token is not signed by HS256"),
    "another algorithm": (
        lambda: jwt.encode({"sub": "me", "aud": "stitch", "exp": 9e9}, NEW * 2, "HS512"),
        "the token is not signed by HS256",
    ),
    "for ever": (lambda: claims(exp=None), "the token is not one of this reader's"),
    "for another service": (lambda: claims(aud="mail"), "the token is not one of this reader's"),
    "nobody's": (lambda: claims(sub=None), "the token is not one of this reader's"),
    "keys of another form": (lambda: claims(keys="t1"), "the token's keys are not a list of texts"),
    "counters of another form": (lambda: claims(counters=[1]), "the token's counters are not a list of texts"),
    "an empty prefix": (lambda: claims(key_prefix=""), "the token's key_prefix is not a text"),
    "dots": (lambda: "a.b.c", "the token is not one of this reader's"),
    "unknown": (lambda: "guessed", "the token is not known"),
    "empty": (lambda: "", "the Authorization header is not `Bearer TOKEN`"),
}


@pytest.mark.parametrize(("token", "said"), BAD.values(), ids=BAD)
def test_a_bad_token_is_401_with_words(
    settings: Settings, layers: FakeLayers, token: Callable[[], str], said: str
) -> None:
    client = client_of(settings, layers, cache=timedelta(seconds=60), **RESTRICTED)
    client.get(totals("plays", "t1"))  # even where an answer for everybody is at hand
    for path in (totals("plays", "t1"), "/openapi.json", "/metrics", "/stats", "/nothing/here"):
        answer = client.get(path, headers=bearer(token()))
        assert (answer.status_code, answer.headers["Cache-Control"]) == (401, "no-store")
        assert answer.get_json()["detail"].startswith(said)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="stitch", error="invalid_token"'
    assert client.get("/healthz", headers=bearer(token())).status_code == 200  # a probe is no matter of tokens


def nested() -> str:
    return base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()


@given(st.one_of(st.text(), st.binary().map(lambda some: some.decode("latin-1"))), st.sampled_from(["", "Bearer "]))
@example(f"{nested()}.e30.", "Bearer ")
@example(f"{nested()}.{nested()}.{nested()}", "Bearer ")
def test_whatever_is_sent_as_authorization_is_a_scope_or_a_bad_token(text: str, kind: str) -> None:
    scopes = SIGNED
    for sent in (text, f"{text}.{text}.{text}"):
        try:
            assert scopes.of(kind + sent) == scopes.nobody and not kind + sent
        except BadToken as error:
            assert str(error)


@pytest.mark.parametrize("wrong", ["hunter2", f"{NEW} hunter2", " "])
def test_a_secret_that_can_be_guessed_is_refused_without_being_told(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("STITCH_SERVING__TOKEN_SECRETS", wrong)
    with pytest.raises(SettingsError, match=r"serving: token_secrets: .*openssl rand -base64 32") as error:
        load_settings("conf/stitch.toml")
    assert "hunter2" not in str(error.value)


# What is hidden appears nowhere


PATHS = [
    "/v1/counters", "/v1/status", "/openapi.json", "/metrics", "/docs", "/status", "/stats", "/", "/readyz", "/healthz",
    "/stats/{name}", "/stats/{name}/t1", "/charts/{name}", "/embed/{name}/t1", "/v1/totals?counters={name}&keys=t1",
    "/v1/series?counters={name}&key=t1&period=7d", "/v1/top?counter={name}&key=t1", "/v1/keys?counter={name}",
    "/v1/corrections?counter={name}", "/v1/totals?counters=nope&keys=t1", "/v1/totals", "/v1/top?counter=plays&key=t1",
    "/v1/chart?counter={name}", "/v1/chart?counter=plays", "/v1/chart?counter=plays&order=nope",
    "/v1/series?counters=plays&key=t1&granularity=nope", "/v1/keys", "/v1/corrections?counter=nope", "/nope",
]  # fmt: skip


@pytest.mark.parametrize("token", [None, {"counters": ("plays",), "keys": ("t1",)}], ids=["nobody", "a token of t1"])
def test_no_answer_names_or_counts_what_the_caller_may_not_see(
    settings: Settings, layers: FakeLayers, token: dict[str, Any] | None
) -> None:
    """Over every route: whichever counter is asked for, an answer has no name of another, and no count of any."""
    client = client_of(settings, layers, **RESTRICTED)
    headers = {} if token is None else bearer(signed(**token))
    hidden = [counter.name for counter in settings.counters if counter.name not in SHOWN]
    routes = {rule.rule for rule in client.application.url_map.iter_rules() if rule.endpoint != "static"}
    said = {re.sub(r"<[^>]*>", "", rule).rstrip("/") for rule in routes}
    assert said <= {re.sub(r"\?.*|\{name\}|/t1", "", path).rstrip("/") for path in PATHS}, "a route that is not asked"
    for name in hidden[:2]:
        for path in PATHS if name == hidden[0] else [path for path in PATHS if "{name}" in path]:
            asked = path.format(name=name)
            answers = [client.get(asked, headers=headers)]
            if path.startswith("/v1/totals"):
                answers.append(client.post("/v1/totals", json={"counters": [name], "keys": ["t1"]}, headers=headers))
            for answer in answers:
                text = answer.text.replace(asked, "")
                others = [other for other in hidden if other != name and re.search(rf"\b{other}\b", text)]
                assert (asked, others, str(HIDDEN) in text) == (asked, [], False)


@pytest.mark.parametrize("path", [path for path in PATHS if "{name}" in path])
def test_a_hidden_counter_is_told_from_one_that_is_not_there_by_nothing(
    settings: Settings, layers: FakeLayers, path: str
) -> None:
    client = client_of(settings, layers, **RESTRICTED)
    for headers in ({}, bearer(signed(counters=("plays",), list_keys=True))):
        hidden, absent = (client.get(path.format(name=name), headers=headers) for name in ("likes", "absent"))
        assert hidden.status_code == absent.status_code == (403 if headers and "/v1/" in path else hidden.status_code)
        assert hidden.text.replace("likes", "absent") == absent.text


def test_a_view_that_thinks_of_no_tokens_shows_nothing_that_is_hidden(settings: Settings, layers: FakeLayers) -> None:
    app = reader_app(settings, layers, **RESTRICTED)

    @app.get("/v1/careless")
    def careless() -> dict[str, Any]:
        query = TotalsQuery([settings.counter("likes")], ["t1"], Span(None, UTC_CALENDAR), "merged", "json")
        return access.reader().totals(query)[0].counts

    @app.get("/v1/names")
    def names() -> list[str]:
        return [counter.name for counter in access.settings().counters]

    client = app.test_client()
    assert client.get("/v1/careless").status_code == 401
    assert client.get("/v1/careless", headers=bearer(signed(keys=("t2",)))).status_code == 403
    assert client.get("/v1/careless", headers=bearer(signed())).get_json() == {"t1": {"likes": HIDDEN}}
    assert client.get("/v1/names").get_json() == SHOWN


def test_without_what_finds_out_who_asks_there_is_no_answer(settings: Settings, layers: FakeLayers) -> None:
    app = reader_app(settings, layers)
    app.wsgi_app = Flask.wsgi_app.__get__(app)  # type: ignore[method-assign]
    assert app.test_client().get("/readyz").status_code == 500


def test_where_hosts_are_is_for_the_log_and_not_for_callers(settings: Settings, layers: FakeLayers) -> None:
    layers.down = {"batch", "realtime"}
    client = client_of(settings, layers)
    for path in (totals("plays", "t1"), "/v1/status", "/readyz", "/v1/keys?counter=plays", "/v1/counters"):
        assert "connection refused" not in client.get(path).text  # what the fake's driver says
    assert client.get(totals("plays", "t1")).get_json()["detail"] == (
        "the batch layer cannot be read now; the realtime layer cannot be read now"
    )


def test_the_log_has_the_hosts_that_did_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    (port,) = free_ports(1)
    connection = Connection("batch", BatchSettings(port=port), Limits(1, 1000), {}, ("any", ()))
    with pytest.raises(LayerDown, match=r"^the batch layer cannot be read now$"):
        connection.send("any", [()], Deadline.after(5))()
    assert f"127.0.0.1:{port}" in caplog.text


# How often


def test_the_cache_of_answers_works_under_a_limit_and_is_no_way_around_it(
    settings: Settings, layers: FakeLayers
) -> None:
    client = client_of(settings, layers, cache=timedelta(seconds=60), rate_limit="3/hour")
    reads = []
    for left in (2, 1, 0):
        answer = client.get(totals("plays", "t1"))
        assert (answer.status_code, answer.headers["RateLimit"].split(";")[1]) == (200, f"r={left}")
        assert answer.headers.getlist("RateLimit-Policy") == ['"requests";q=3;w=3600']
        reads.append(layers.reads)
    assert reads[0] == reads[2]  # the second and third were at hand
    refused = client.get(totals("plays", "t1"))
    assert (refused.status_code, refused.headers["Cache-Control"]) == (429, "no-store")
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600


def test_who_guesses_tokens_is_limited_and_those_who_have_one_are_not_by_it(
    settings: Settings, layers: FakeLayers
) -> None:
    kept = {"kept": {"sha256": hashlib.sha256(b"kept").hexdigest()}}
    client = client_of(settings, layers, rate_limit="2/hour", tokens=kept, public=SHOWN)
    guess = bearer("guess")
    guesses = [client.get("/openapi.json", headers=guess), client.options(totals("plays", "t1"), headers=guess),
               client.get("/stats", headers=guess)]  # fmt: skip
    assert [answer.status_code for answer in guesses] == [401, 401, 429]
    assert "Retry-After" not in guesses[0].headers and "Retry-After" in guesses[2].headers
    assert client.get(totals("plays", "t1")).status_code == 429  # the same address, without a token
    assert client.get(totals("plays", "t1"), headers=bearer("kept")).status_code == 200


def test_a_link_that_many_have_is_limited_by_address(settings: Settings, layers: FakeLayers) -> None:
    client = client_of(settings, layers, rate_limit="1/hour", trusted_proxies=1, **RESTRICTED)
    link = bearer(signed(keys=("t1",)))
    found = [client.get(totals("likes", "t1"), headers={**link, "X-Forwarded-For": at}).status_code
             for at in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]  # fmt: skip
    assert found == [200, 200, 429]


ADDRESSES = {
    "192.0.2.1": "192.0.2.1",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
    "2001:db8:1:2::ffff": "2001:db8:1:2::/64",
    "2001:db8:1:3::1": "2001:db8:1:3::/64",
    "::ffff:192.0.2.1": "192.0.2.1",
    "192.0.2.1:5555": "192.0.2.1",
    "[2001:db8:1:2::1]:5555": "2001:db8:1:2::/64",
    "[2001:db8:1:2::1]": "2001:db8:1:2::/64",
    "[::ffff:192.0.2.1]:5555": "192.0.2.1",
    "2001:db8:1:2::1%eth0": "2001:db8:1:2::/64",
    "[x]:1": "[x]:1",
    "unix:": "unix:",
    "": "",
}


def test_an_address_has_no_port_and_one_of_ipv6_is_its_network() -> None:
    assert {remote: address(remote) for remote in ADDRESSES} == ADDRESSES


def test_it_is_said_at_the_start_that_each_worker_counts_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    RateLimit("600/minute", "memory://", 1)
    assert caplog.records == []
    RateLimit("600/minute", "memory://", 4)
    assert "600/minute is counted by each of 4 workers for itself" in caplog.text


STORAGES = {
    "nonsense": "unknown storage scheme",
    "foo://x": "unknown storage scheme",
    "memcached://me:secret@h": "Missing host or port",
    "memcached://127.0.0.1:x": "Unable to parse",
}


@pytest.mark.parametrize(("storage", "why"), STORAGES.items())
def test_a_storage_that_cannot_be_used_is_told_at_the_start_without_its_password(
    settings: Settings, storage: str, why: str
) -> None:
    serving = ServingSettings(rate_limit="1/hour", rate_limit_storage=storage)
    with pytest.raises(BadStorage, match=f"^serving.rate_limit_storage cannot be used: {why}") as told:
        usable(lambda: settings.model_copy(update={"serving": serving}))
    assert "secret" not in str(told.value) and told.value.__suppress_context__


def test_a_storage_that_is_away_takes_neither_counts_nor_limit_with_it(
    settings: Settings, layers: FakeLayers, caplog: pytest.LogCaptureFixture
) -> None:
    storage = "memcached://127.0.0.1:1"
    client = client_of(settings, layers, rate_limit="1/hour", rate_limit_storage=storage)
    assert [client.get(totals("plays", "t1")).status_code for _ in range(2)] == [200, 429]
    assert caplog.text.count("this process counts for itself") == 1  # and not with each request


def test_a_storage_that_hangs_is_waited_for_a_moment(settings: Settings, layers: FakeLayers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        storage = f"memcached://127.0.0.1:{silent.getsockname()[1]}"
        client = client_of(settings, layers, rate_limit="9/hour", rate_limit_storage=storage)
        began = time.monotonic()
        assert [client.get(totals("plays", "t1")).status_code for _ in range(5)] == [200] * 5
        assert time.monotonic() - began < 2


def test_the_log_says_who_was_handed_an_answer_from_the_cache(
    settings: Settings, layers: FakeLayers, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(settings, layers, cache=timedelta(seconds=60), trusted_proxies=1, **RESTRICTED)
    headers = bearer(signed(keys=("t1",))) | {"X-Forwarded-For": "192.0.2.7"}
    with caplog.at_level(logging.INFO, "stitch.access"):
        for _ in range(2):
            client.get(totals("likes", "t1"), headers=headers)
    lines: list[Any] = [record.msg for record in caplog.records]
    assert [(line["address"], line["token"], line["endpoint"]) for line in lines] == [("192.0.2.7", "me", "totals")] * 2


def test_answers_at_hand_are_of_whoever_may_read_them(settings: Settings, layers: FakeLayers) -> None:
    client = client_of(settings, layers, cache=timedelta(seconds=60), **RESTRICTED)
    assert client.get(totals("likes", "t1"), headers=bearer(signed())).status_code == 200
    assert client.get(totals("likes", "t1"), headers=bearer(signed(keys=("t2",)))).status_code == 403
    assert client.get(totals("likes", "t1")).status_code == 401


# What a person types


def typed(*args: str, secret: str | None = NEW) -> tuple[int, str]:
    found = CliRunner().invoke(main, args, env={"STITCH_SERVING__TOKEN_SECRETS": secret})
    return found.exit_code, found.output


@pytest.mark.parametrize("key", ["t1", "a/b", "..", "a b&c=d#e", "ключ", "c1/a"])
def test_a_link_opens_the_page_of_one_key_and_no_other(settings: Settings, layers: FakeLayers, key: str) -> None:
    status, text = typed("link", "likes", key, "--for", "30d", "--site", "https://counts.example.com/below/")
    page, frame = re.findall(r"(https://counts\.example\.com/below/\S+?)(?:\"|\s)", text)
    assert (status, f"until {datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}" in text) == (0, True)
    client = client_of(settings, layers, **RESTRICTED)
    for address_, kind in ((page, "stats"), (frame, "embed")):
        path, _, token = address_.removeprefix("https://counts.example.com/below").partition("#token=")
        assert path.startswith(f"/{kind}/likes?key=")
        assert client.get(path).status_code == 401  # as a browser opens it
        opened = client.get(path, headers=bearer(token), follow_redirects=True)  # to the page of the key's field
        shown = escape(key) if kind == "stats" else 'data-counter="likes"'  # a frame has its key as JSON
        assert (opened.status_code, shown in opened.text) == (200, True)
        asked = {"counters": "likes", "key": key}
        assert client.get("/v1/totals", query_string=asked, headers=bearer(token)).status_code == 200
        assert client.get(totals("likes", "t2"), headers=bearer(token)).status_code == 403
        assert client.get(totals("comments", "t1"), headers=bearer(token)).status_code == 403


def test_whatever_asks_for_a_token_asks_for_the_same(settings: Settings, layers: FakeLayers) -> None:
    client = client_of(settings, layers, **RESTRICTED)
    paths = (totals("likes", "t1"), "/v1/keys?counter=likes", "/stats/nothing", "/stats/likes/t1", "/embed/likes/t1")
    found = [client.get(path) for path in paths]
    assert {(one.status_code, one.headers["WWW-Authenticate"]) for one in found} == {(401, 'Bearer realm="stitch"')}


def test_a_frame_that_is_not_public_may_be_put_on_other_pages_and_a_page_may_not(
    settings: Settings, layers: FakeLayers
) -> None:
    client = client_of(settings, layers, **RESTRICTED)
    found = {path: client.get(path).headers["Content-Security-Policy"] for path in ("/embed/likes/t1", "/stats/likes")}
    assert ["frame-ancestors *" in policy for policy in found.values()] == [True, False]


WRONG: dict[tuple[str, ...], str] = {
    ("link", "nope", "t1"): "no counter 'nope'; there are plays",
    ("link", "plays", "t1", "--for", "soon"): "'soon' is not a duration",
    ("token", "me", "--key-prefix", ""): "every key begins with an empty one",
}


@pytest.mark.parametrize(("args", "said"), WRONG.items(), ids=[" ".join(args) for args in WRONG])
def test_a_token_that_would_not_be_what_was_meant_is_refused(args: tuple[str, ...], said: str) -> None:
    status, text = typed(*args)
    assert (status, said in text) == (2, True)


def test_without_a_secret_it_is_said_how_to_have_one() -> None:
    for args in (("link", "plays", "t1"), ("token", "me", "--for", "1d")):
        status, text = typed(*args, secret=None)
        assert (status, "STITCH_SERVING__TOKEN_SECRETS" in text, "openssl rand" in text) == (2, True, True)


def test_the_lines_for_the_settings_are_of_the_token(settings: Settings, layers: FakeLayers) -> None:
    status, text = typed("token", "me", "--counter", "likes", "--key", 't"1', "--key-prefix", "ü", "--list-keys")
    first, _, lines = text.partition("\n\n")
    token = first.removeprefix("the token, shown once: ")
    said = tomllib.loads(lines)["serving"]["tokens"]
    assert status == 0 and said["me"] == {
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "counters": ["likes"], "keys": ['t"1'], "key_prefix": "ü", "list_keys": True,
    }  # fmt: skip
    client = client_of(settings, layers, tokens=said)
    asked = [client.get(totals("likes", key), headers=bearer(token)).status_code for key in ('t"1', "übrig", "t1")]
    assert asked == [200, 200, 403]
