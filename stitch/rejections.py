"""Reasons why records are no events and fields are absent, as people and figures are told of them.

A reason is a sentence that quotes the record, so there may be as many as there are records. For people they are counted
without what they quote; for figures there are a few kinds, a closed set. The reason is what the log keeps, and an
earlier version may have written it; so its kind is read from its words. The first pattern that is found in it decides:
what a record says may come behind any of them. All patterns mean the same to Python and to Java.
"""

from __future__ import annotations

import re

SHOWN_VALUE = r"(?s)(?<!^not JSON): .*$| \(byte \d+\)$"
OTHER = "other"
KINDS = {
    "not_json": r"^(not JSON: |not a JSON object$|not UTF-8$|nested deeper than )",
    "no_value": r"^no value ",
    "no_ingest_time": r"^no ingest time$",
    "stamped_by_producer": r"^stamped by its producer ",
    "not_an_instant": r" is not an instant: ",
    "in_the_future": r" is too far in the future: ",
    "in_the_past": r" is too far in the past: ",
    "not_a_text": r" is an (object|array), not a text$",
    "missing": r" is missing$",
}


def kind_of(reason: str) -> str:
    """The kind of the reason; OTHER for one that no record gets now."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, reason)), OTHER)


def without_value(reason: str) -> str:
    """`occurred_at is not an instant: yesterday` → `occurred_at is not an instant`."""
    return re.sub(SHOWN_VALUE, "", reason)


def printable(text: str) -> str:
    """The text for a terminal: what would move its cursor or change its colours is written as an escape."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
