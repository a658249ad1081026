"""Reasons why records are rejected and fields absent, for people: without the value that each shows, so that they can
be counted. (stitch.rejections has the few kinds of reasons that figures are labelled with.)

The pattern is one that Python and Java read alike, for Spark groups by it too.
"""

from __future__ import annotations

import re

SHOWN_VALUE = r"(?s)(?<!^not JSON): .*$| \(byte \d+\)$"


def without_value(reason: str) -> str:
    """`occurred_at is not an instant: yesterday` → `occurred_at is not an instant`."""
    return re.sub(SHOWN_VALUE, "", reason)


def printable(text: str) -> str:
    """The text for a terminal: what would move its cursor or change its colours is written as an escape."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
