"""Records as nobody should send them, and somebody does: arbitrary JSON around what an event needs, by hypothesis."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

TYPES = ["play", "like", "unlike", "comment", "repost", "unrepost"]
INSTANTS = ["2024-02-29T23:10:00Z", "2024-02-29T10:59:59.999+01:00", "2024-02-29 10:00", 1709247600000, "1709247600000"]
TEXT = st.text(max_size=40) | st.sampled_from(
    ["\0", "a\0b", " ", "\ufeff", "'; DROP", "🎵" * 9, "ü" * 600, "k" * 1024, "k" * 1025, "\ud800x"]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([-0.0, 1e7, 1e308, 10**30, 12345678.0, 2**62, 2**63, -(2**63)])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
NAMES = st.sampled_from(["type", "occurred_at", "track_id", "creator_id", "country", "duration_s"])
HUGE = st.sampled_from(["x" * 5_000, "ü" * 40_000, [0] * 20_000, "\\" * 3_000])
SENT_AS = st.sampled_from(
    [
        lambda text: text.encode("utf-8", "surrogatepass"),
        lambda text: b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass"),
        lambda text: (text + " trailing").encode("utf-8", "surrogatepass"),
        lambda text: (text + text).encode("utf-8", "surrogatepass"),
        lambda text: text.encode("utf-16", "surrogatepass"),
        lambda text: text[: len(text) // 2].encode("utf-8", "surrogatepass"),
        lambda text: b"\0\0\0\0\x01" + text.encode("utf-8", "surrogatepass"),
    ]
)


_numbers = itertools.count()  # no id is sent twice, or the batch would remove one of them


def event_id(kind: str) -> Any:
    number = next(_numbers)
    return {"plain": f"e{number}", "number": number, "float": number + 0.5, "nul": f"\0{number}",
            "long": "i" * 2000 + f"{number}", "empty": "", "blank": " ", "list": [], "null": None}[kind]  # fmt: skip


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@st.composite
def records(draw: st.DrawFn) -> bytes | None:
    """A record's value: mostly an event of which some fields are anything at all; else anything at all."""
    kind = draw(st.integers(0, 19))
    if kind == 0:
        return draw(st.none() | st.binary(max_size=60))
    if kind == 1:
        return json.dumps(draw(VALUES)).encode()
    event: dict[str, Any] = {
        "event_id": event_id(
            draw(st.sampled_from(["plain"] * 20 + ["number", "float", "nul", "long", "empty", "blank", "list", "null"]))
        ),
        "type": draw(st.sampled_from(TYPES)),
        "occurred_at": draw(st.sampled_from(INSTANTS)),
        "track_id": draw(st.sampled_from(["t1", "t2", "t3"]) | TEXT),
        "creator_id": draw(st.sampled_from(["c1", "c2"]) | TEXT),
        "country": draw(st.sampled_from(["DE", "FR"]) | LEAVES),
        "duration_s": draw(st.integers(0, 600) | LEAVES),
    }
    for name, value in draw(st.dictionaries(NAMES, VALUES | HUGE, max_size=2)).items():
        event[name] = value
    if draw(st.integers(0, 9)) == 0:
        event["more"] = draw(st.sampled_from([nested(40), nested(900), {"a": "b" * 9_000}]))
    text = json.dumps(event, ensure_ascii=draw(st.booleans()))
    return draw(SENT_AS)(text) if draw(st.integers(0, 4)) == 0 else text.encode("utf-8", "surrogatepass")


def generated(number: int, at: int) -> list[bytes | None]:
    """So many records, the same for the same seed."""
    found: list[bytes | None] = []

    @seed(at)
    @settings(
        max_examples=number, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @given(records())
    def keep(record: bytes | None) -> None:
        found.append(record)

    keep()
    random.Random(at).shuffle(found)
    return found
