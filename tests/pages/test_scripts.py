"""The scripts' own functions, asked in the browser: literal values in, literal values out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import page
from tests.pages.conftest import Serve
from tests.pages.music import Music


@pytest.fixture(scope="module")
def blank(serve: Serve, music: Music, chromium: Any) -> Iterator[Any]:
    site = serve(music)
    with page(chromium, site, expected_errors=1) as found:
        found.goto(f"{site}/stats/nothing/here")
        yield found


def call(blank: Any, script: str, name: str, *values: Any) -> Any:
    code = "([script, name, values]) => import(`/static/${script}.js`).then((found) => found[name](...values))"
    return blank.evaluate(code, [script, name, list(values)])


CALLS: list[tuple[str, str, list[Any], Any]] = [
    ("format", "number", [1234567], "1,234,567"),
    ("format", "number", ["9007199254740993"], "9,007,199,254,740,993"),
    ("format", "number", ["-9007199254740993"], "-9,007,199,254,740,993"),
    ("format", "number", [None], "–"),
    ("format", "compact", [9999], "9,999"),
    ("format", "compact", [1_250_000], "1.25m"),
    ("format", "compact", [-20_000], "-20k"),
    ("format", "change", [{"current": 3, "previous": 2, "change": 0.5}], {"text": "+50%", "way": 1}),
    ("format", "change", [{"current": 1, "previous": 2, "change": -0.5}], {"text": "-50%", "way": -1}),
    ("format", "change", [{"current": 2, "previous": 2, "change": 0}], {"text": "0%", "way": 0}),
    ("format", "change", [{"current": 0, "previous": 0, "change": None}], {"text": "no change", "way": 0}),
    ("format", "change", [{"current": 3, "previous": 0, "change": None}], {"text": "new", "way": 1}),
    ("format", "change", [{"current": -3, "previous": 0, "change": None}], {"text": "", "way": 0}),
    ("format", "change", [{"current": None, "previous": 4, "change": None}], {"text": "", "way": 0}),
    ("format", "difference", [{"current": 1200, "previous": 2}], "+1,198"),
    ("format", "difference", [{"current": "9007199254740993", "previous": 1}], "+9,007,199,254,740,992"),
    ("format", "difference", [{"current": 1, "previous": 4}], "-3"),
    ("format", "difference", [{"current": None, "previous": 4}], ""),
    ("format", "share", [1, 4], "25%"),
    ("format", "share", ["9007199254740993", "9007199254740993"], "100%"),
    ("format", "share", [-1, 4], "–"),
    ("format", "share", [0, 0], "–"),
    ("format", "visible", ["a\x00b\r\x7f"], "a␀b␍␡"),
    ("format", "ago", [89_400], "89 s ago"),
    ("format", "ago", [540_000], "9 min ago"),
    ("range", "fitting", [3_600_000, ["minute", "hour", "day", "week", "month"]], "minute"),
    ("range", "fitting", [3_600_000, ["hour", "day", "week", "month"]], "hour"),
    ("range", "fitting", [4 * 86_400_000, ["hour", "day", "week", "month"]], "hour"),
    ("range", "fitting", [31 * 86_400_000, ["hour", "day", "week", "month"]], "day"),
    ("range", "fitting", [900 * 86_400_000, ["hour", "day", "week", "month"]], "month"),
    ("range", "said", [{"start": "2026-01-01T00:00:00+01:00", "end": "2026-02-01T00:00:00+01:00"}],
     {"start": "2026-01-01", "end": "2026-01-31"}),
    ("range", "said", [{"start": "2026-01-01T05:00:00+01:00", "end": "2026-01-01T09:00:00+01:00"}],
     {"start": "2026-01-01T05:00:00+01:00", "end": "2026-01-01T09:00:00+01:00"}),
    ("range", "moved", [{"start": "2024-03-01T00:00:00Z", "end": "2024-04-01T00:00:00Z"}, -1],
     {"start": "2024-02-01", "end": "2024-02-29"}),
    ("range", "moved", [{"start": "2024-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}, 1],
     {"start": "2025-01-01", "end": "2025-12-31"}),
    ("range", "moved", [{"start": "2024-03-05T00:00:00+01:00", "end": "2024-03-12T00:00:00+01:00"}, -1],
     {"start": "2024-02-27", "end": "2024-03-04"}),
    ("range", "moved", [{"start": "2024-03-31T22:00:00+02:00", "end": "2024-04-01T01:00:00+02:00"}, 1],
     {"start": "2024-03-31T23:00:00.000Z", "end": "2024-04-01T02:00:00.000Z"}),
    ("range", "asked", [{"period": "custom", "start": "2026-01-01", "end": "2026-01-31"}, 0, "hour"],
     {"start": "2026-01-01", "end": "2026-02-01"}),
    ("range", "asked", [{"period": "custom", "start": "2026-01-01", "end": ""}, 0, "hour"], None),
    ("range", "asked", [{"period": "7d", "start": "", "end": ""}, 0, "hour"], {"period": "7d"}),
    ("range", "asked", [{"period": "1h"}, 1_774_000_030_000, "minute"],
     {"start": "2026-03-20T08:48:00.000Z", "end": "2026-03-20T09:48:00.000Z"}),
    ("corrections", "sentence", [{"day": "2026-03-03", "difference": -12}, {"title": "Plays", "unit": None}],
     "12 plays of 3 March 2026 were removed: duplicates, or events that are not to be counted."),
    ("corrections", "sentence", [{"day": "2026-03-03", "difference": "9007199254740993"},
                                 {"title": "Listening time", "unit": "seconds"}],
     "9,007,199,254,740,993 seconds of 3 March 2026 were added: events that arrived late."),
]  # fmt: skip


@pytest.mark.parametrize(("script", "name", "values", "expected"), CALLS)
def test_a_function_answers_as_written_here(
    blank: Any, script: str, name: str, values: list[Any], expected: Any
) -> None:
    assert call(blank, script, name, *values) == expected


POINTS = [
    {"start": f"2026-03-{day:02}T00:00:00Z", "end": "", "counts": {"plays": count}, "status": {"plays": status},
     "complete": {"plays": day < 4}, "final": {"plays": day < 3}}
    for day, count, status in [(1, 5, "known"), (2, "9007199254740993", "known"), (3, 7, "known"), (4, 1, "known"),
                               (5, None, "unknown"), (6, None, "future")]
]  # fmt: skip
ANSWER = {"query": {"tz": "UTC", "granularity": "day"}, "points": POINTS}


def test_the_best_point_is_named_where_there_are_several(blank: Any) -> None:
    said = call(blank, "points", "best", ANSWER, "plays")
    assert said.startswith("Best day: ") and said.endswith("(9,007,199,254,740,993)")
    assert call(blank, "points", "best", {**ANSWER, "points": POINTS[:1]}, "plays") == ""


def test_the_table_says_of_each_point_how_sure_it_is(blank: Any) -> None:
    rows = call(blank, "points", "rowsOf", ANSWER, "plays")
    assert [cells[-1]["text"] for cells in rows] == [
        "Final", "Final", "May still change", "In progress", "Not known", "Upcoming",
    ]  # fmt: skip


def test_each_counter_of_a_point_may_have_a_status_of_its_own_and_a_point_what_it_faces(blank: Any) -> None:
    point = {
        "start": "2026-03-01T00:00:00Z", "end": "", "counts": {"plays": 3, "likes": None},
        "status": {"plays": "known", "likes": "unknown"}, "complete": {"plays": True, "likes": False},
        "final": {"plays": True, "likes": False}, "previous": {"counts": {"plays": 2, "likes": 1}},
    }  # fmt: skip
    answer = {**ANSWER, "points": [point, {**point, "previous": None}], "comparison": {}}
    cells = [[cell["text"] for cell in row[1:]] for row in call(blank, "points", "rowsOf", answer, "plays")]
    assert cells == [["3", "2", "Final"], ["3", "–", "Final"]]
    assert call(blank, "points", "rowsOf", answer, "likes")[0][-1]["text"] == "Not known"


ERRORS = {
    (400, "end"): "The range must end after it begins. Choose other dates.",
    (400, "start"): "That is too much for one chart. Choose a shorter range or larger steps.",
    (400, "key"): "There is too much of this to show at once, or its name is too long. Choose a shorter range.",
    (400, "anything"): "This cannot be shown. Choose another range.",
    (401, ""): "These counts are private. A token is needed.",
    (403, ""): "Your token does not give access to these counts.",
    (429, ""): "Too many requests. Trying again shortly.",
    (503, ""): "The counts are not available right now. Trying again.",
    (0, ""): "The server cannot be reached. Trying again.",
    (500, ""): "The counts are not available right now. Trying again.",
}


@pytest.mark.parametrize(("error", "said"), ERRORS.items())
def test_an_error_of_the_api_is_said_for_people(blank: Any, error: tuple[int, str], said: str) -> None:
    code = """async ([status, parameter]) => {
      const { ApiError } = await import("/static/api.js");
      const { explain } = await import("/static/words.js");
      return explain(new ApiError(status, { detail: "max_points", errors: [{ parameter, detail: "`x`" }] }, 0));
    }"""
    assert blank.evaluate(code, list(error)) == said
