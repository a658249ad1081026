"""The kinds of reasons why records are no events: a closed set, for figures. A reason itself is a sentence that quotes
the record, so there may be as many as there are records.

The reason is what the log keeps, and an earlier version may have written it; so the kind is read from its words. The
first pattern that is found in it decides: what a record says may come behind any of them. The patterns mean the same to
Python and to Java.
"""

from __future__ import annotations

import re

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
