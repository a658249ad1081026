"""When an event occurred: what producers write, as microseconds since 1970.

ISO-8601 in the forms that producers write, or a number since 1970 whose unit its size tells. A text without a zone is
UTC, a leap second is the second after it, and what is finer than a microsecond is cut off. The size tells the unit
because the years that a topic sees lie far apart: seconds are below 10^11 (the year 5138), and milliseconds since
March 1973, microseconds and nanoseconds are each a thousand times more.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal

FIRST = -62_135_596_800_000_000  # 0001-01-01
LAST = 253_402_300_799_999_999  # the last microsecond of 9999
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")  # as JSON writes one
MICROS = {"s": Decimal(10**6), "ms": Decimal(10**3), "us": Decimal(1), "ns": Decimal("0.001")}
_FACTORS = {"s": 10**6, "ms": 10**3, "us": 1}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC without saying so, for texts that name no zone
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = Context(prec=60)
_LONGEST = 64  # characters of an instant

# Date and time each with or without its separators, but not half of them.
_ISO = re.compile(
    r"(?P<year>[0-9]{4})(?P<dash>-?)(?P<month>[0-9]{2})(?P=dash)(?P<day>[0-9]{2})"
    r"(?:[Tt ](?P<hour>[0-9]{2})(?:(?P<colon>:?)(?P<minute>[0-9]{2})(?:(?P=colon)(?P<second>[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]+))?)?)?"
    r" ?(?P<zone>[Zz]|(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?)?)?"
)
# The form that nearly all producers write: 2024-02-29T10:00:00[.000](Z|+00:00).
_USUAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-5][0-9])")
_WEEK = re.compile(r"[0-9]{4}-?W[0-9]{2}.*", re.DOTALL)
_ORDINAL = re.compile(r"[0-9]{4}-[0-9]{3}(?:[Tt ].*)?", re.DOTALL)
_MAIL = re.compile(r"(?:[A-Za-z]{3,9},? +)?[0-9]{1,2}[ -][A-Za-z]{3}[ -][0-9]{2,4} .*", re.DOTALL)


def instant_of_text(text: str, epoch: str) -> int | None:
    """Microseconds since 1970, or None. `epoch`: the unit of numbers, or "auto".

    With "auto" eight digits are a date (20240229), as ISO's basic format has it; all other numbers are since 1970.
    """
    if len(text) > _LONGEST:
        return None
    if _USUAL.fullmatch(text):
        try:  # Python's own parser takes these as _of_iso does, and is ten times faster
            return _micros(datetime.fromisoformat(text))
        except ValueError:
            pass
    if NUMBER.fullmatch(text) and not (epoch == "auto" and len(text) == 8 and text.isdigit()):
        return instant_of_number(text, epoch)
    return _of_iso(text)


def instant_of_number(text: str, epoch: str) -> int | None:
    """The same for a number as JSON writes it, perhaps with a fraction."""
    if len(text) > _LONGEST:
        return None
    try:
        number = Decimal(text)
        unit = MICROS[_unit(abs(number)) if epoch == "auto" else epoch]
        micros = _EXACT.multiply(number, unit).quantize(Decimal(1), ROUND_FLOOR, _EXACT)
    except ArithmeticError:  # too many digits for any instant
        return None
    return int(micros) if FIRST <= micros <= LAST else None


def instant_of_integer(number: int, epoch: str) -> int | None:
    """The same for a number without a fraction, in a tenth of the time."""
    size = abs(number)
    unit = _unit(size) if epoch == "auto" else epoch
    micros = number // 1000 if unit == "ns" else number * _FACTORS[unit]
    return micros if FIRST <= micros <= LAST else None


def hint(text: str) -> str:
    """What a text is that is no instant here; empty where it is nothing known."""
    kinds = ((_WEEK, "a week date"), (_ORDINAL, "an ordinal date"), (_MAIL, "a date as in mail and HTTP headers"))
    found = next((kind for pattern, kind in kinds if pattern.fullmatch(text)), "")
    return f" ({found}: write year, month, day as ISO-8601 does)" if found else ""


def _unit(size: Decimal | int) -> str:
    if size < 10**11:
        return "s"
    if size < 10**14:
        return "ms"
    return "us" if size < 10**17 else "ns"


def _of_iso(text: str) -> int | None:
    found = _ISO.fullmatch(text)
    if not found:
        return None
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    fraction = (found["fraction"] or "")[:6].ljust(6, "0")
    at_midnight = (hour, minute, second) == (24, 0, 0) and not (found["fraction"] or "").strip("0")
    if (hour > 23 and not at_midnight) or minute > 59 or second > 60:
        return None
    hours, minutes = int(found["hours"] or 0), int(found["minutes"] or 0)
    if hours > 23 or minutes > 59:
        return None
    try:
        day = datetime(int(found["year"]), int(found["month"]), int(found["day"]))  # noqa: DTZ001
    except ValueError:  # no such day
        return None
    offset = (hours * 60 + minutes) * (-1 if found["sign"] == "-" else 1)
    seconds = (day - _EPOCH).days * 86_400 + hour * 3600 + (minute - offset) * 60 + second
    micros = seconds * 10**6 + int(fraction)
    return micros if FIRST <= micros <= LAST else None


def _micros(at: datetime) -> int | None:
    since: timedelta = at - _EPOCH_UTC
    micros = (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
    return micros if FIRST <= micros <= LAST else None
