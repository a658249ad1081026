"""When an event occurred, in every form that producers write: literal tables, and texts made from instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stitch import instants
from stitch.instants import hint, instant_of_number, instant_of_text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def said(text: str, epoch: str = "auto") -> str | None:
    """The instant of a text, as text: 2024-02-29 10:00:00[.000000]."""
    found = instant_of_text(text, epoch)
    return None if found is None else str((EPOCH + timedelta(microseconds=found)).replace(tzinfo=None))


TEN = "2024-02-29 10:00:00"
ISO = [
    ("2024-02-29T10:00:00Z", TEN),
    ("2024-02-29t10:00:00z", TEN),
    ("2024-02-29 10:00:00", TEN),
    ("2024-02-29T10:00:00", TEN),  # no zone: UTC
    ("2024-02-29T10:00:00 Z", TEN),
    ("2024-02-29 12:00:00 +02:00", TEN),
    ("2024-02-29T10:00Z", TEN),
    ("2024-02-29T10Z", TEN),
    ("2024-02-29T12:00:00+02:00", TEN),
    ("2024-02-29T12:00:00+0200", TEN),
    ("2024-02-29T12:00:00+02", TEN),
    ("2024-02-29T04:30:00-05:30", TEN),
    ("2024-02-29T10:00:00-00:00", TEN),
    ("20240229T100000Z", TEN),
    ("20240229T100000", TEN),
    ("20240229T1000Z", TEN),
    ("20240229T120000+0200", TEN),
    ("20240229T100000.25Z", TEN + ".250000"),
    ("2024-02-29T10:00:00,123Z", TEN + ".123000"),
    ("2024-02-29T10:00:00.1Z", TEN + ".100000"),
    ("2024-02-29T10:00:00.123456789Z", TEN + ".123456"),
    ("2024-02-29T10:00:00.9999999999999999Z", TEN + ".999999"),
    ("2024-02-29", "2024-02-29 00:00:00"),
    ("20240229", "2024-02-29 00:00:00"),
    ("2016-12-31T23:59:60Z", "2017-01-01 00:00:00"),
    ("2016-12-31T23:59:60.5Z", "2017-01-01 00:00:00.500000"),
    ("2024-02-28T24:00:00Z", "2024-02-29 00:00:00"),
    ("20240228T240000Z", "2024-02-29 00:00:00"),
    ("2024-02-28T24:00Z", "2024-02-29 00:00:00"),
    ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00"),
    ("9999-12-31T23:59:59.999999Z", "9999-12-31 23:59:59.999999"),
    ("1899-12-30T00:00:00Z", "1899-12-30 00:00:00"),
]


@pytest.mark.parametrize(("text", "expected"), ISO)
def test_iso_8601_as_producers_write_it(text: str, expected: str) -> None:
    assert said(text) == expected
    assert said(text, "s") == (expected if text != "20240229" else "1970-08-23 06:17:09")


NUMBERS = [
    ("1709200800", "auto", TEN),
    ("1709200800000", "auto", TEN),
    ("1709200800000000", "auto", TEN),
    ("1709200800000000000", "auto", TEN),
    ("1709200800.25", "auto", TEN + ".250000"),
    ("1709200800000.5", "auto", TEN + ".000500"),
    ("1709200800000999", "auto", TEN + ".000999"),
    ("1709200800000000999", "auto", TEN),
    ("1.7092008e9", "auto", TEN),
    ("1.7092008E+12", "auto", TEN),
    ("0", "auto", "1970-01-01 00:00:00"),
    ("-0", "auto", "1970-01-01 00:00:00"),
    ("-1.5", "auto", "1969-12-31 23:59:58.500000"),
    ("99999999999", "auto", "5138-11-16 09:46:39"),
    ("100000000000", "auto", "1973-03-03 09:46:40"),
    ("99999999999999", "auto", "5138-11-16 09:46:39.999000"),
    ("100000000000000", "auto", "1973-03-03 09:46:40"),
    ("20240229", "auto", "1970-08-23 06:17:09"),  # a number and no string: seconds
    ("1000", "ms", "1970-01-01 00:00:01"),
    ("1000", "us", "1970-01-01 00:00:00.001000"),
    ("1000", "ns", "1970-01-01 00:00:00.000001"),
    ("1709200800000", "s", None),  # the year 56,000
    ("1e400", "auto", None),
    ("1e999999999", "auto", None),
    ("-1e17", "s", None),
    ("9" * 65, "auto", None),
]


@pytest.mark.parametrize(("number", "epoch", "expected"), NUMBERS)
def test_a_number_is_since_1970_in_the_unit_that_is_said_or_that_its_size_tells(
    number: str, epoch: str, expected: str | None
) -> None:
    found = instant_of_number(number, epoch)
    assert (None if found is None else str((EPOCH + timedelta(microseconds=found)).replace(tzinfo=None))) == expected


def test_a_string_of_a_number_is_that_number() -> None:
    assert said("1709200800000") == said("1709200800") == said("1.7092008e9") == TEN
    assert said("20240229", "s") == "1970-08-23 06:17:09"  # the unit is said: no date


WRONG = [
    "", "yesterday", "2024-02-30", "2023-02-29T10:00:00Z", "2024-13-01", "2024-00-10", "0000-01-01", "2024-2-9",
    "24-02-29", "2024-02", "2024-02-29T", "2024-02-29T10:00:00X", "2024-02-29x10:00:00Z", "2024-02-29T25:00:00Z",
    "2024-02-29T24:00:01Z", "2024-02-29T24:00:00.5Z", "2024-02-29T10:60:00Z", "2024-02-29T10:00:61Z",
    "2024-02-29T10:00:00+24:00", "2024-02-29T10:00:00+01:60", "2024-02-29T10:00:00+1", "2024-02-29T10:00:00.Z",
    "2024-02-29T10:00:00ZZ", "2024-0229T10:00:00Z", "2024-02-29T10:0000Z", "2024-02-29T10:00:00+01:00:30",
    " 2024-02-29", "2024-02-29 ", "2024-W09-4", "2024W094", "2024-060", "2024-W09-4T10:00:00Z",
    "Thu, 29 Feb 2024 10:00:00 GMT", "2024-02-29T10:00:00 UTC", "٢٠٢٤-02-29T10:00:00Z",
    "2024-02-29T10:00:00.123" + "0" * 60, "9999-12-31T23:59:60Z", "0001-01-01T00:00:00+01:00", "12:00", "+1709200800",
    "0x65e0", "NaN", "1_000",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_instant_is_none(text: str) -> None:
    assert said(text) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    {"2024-W09-4": "a week date", "2024W094T10": "a week date", "2024-060": "an ordinal date",
     "Thu, 29 Feb 2024 10:00:00 GMT": "a date as in mail", "29 Feb 2024 10:00 +0100": "a date as in mail"}.items(),
)  # fmt: skip
def test_known_forms_that_are_not_taken_are_named(text: str, kind: str) -> None:
    assert said(text) is None and kind in hint(text)
    assert hint("yesterday") == ""


offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# A day from the edges, so that no zone leads beyond the years that there are.
any_instants = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets)  # noqa: DTZ001


@given(any_instants, st.booleans(), st.booleans(), st.sampled_from("Tt "), st.integers(0, 12), st.sampled_from(".,"),
       st.sampled_from(["", ":", "hour"]), st.booleans())  # fmt: skip
def test_a_text_made_from_an_instant_reads_as_that_instant(
    at: datetime, dashes: bool, colons: bool, between: str, digits: int, point: str, zone: str, space: bool
) -> None:
    dash, colon = "-" if dashes else "", ":" if colons else ""
    minutes = (at.utcoffset() or timedelta()) // timedelta(minutes=1)
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    if zone == "hour":
        at = at.replace(tzinfo=timezone(timedelta(hours=hours * (-1 if sign == "-" else 1))))
    offset = f"{sign}{hours:02}" + ("" if zone == "hour" else f"{zone}{rest:02}")
    fraction = f"{at.microsecond:06}000000"[:digits]
    text = f"{at.year:04}{dash}{at.month:02}{dash}{at.day:02}{between}"
    text += f"{at.hour:02}{colon}{at.minute:02}{colon}{at.second:02}"
    text += (f"{point}{fraction}" if fraction else "") + (" " if space else "") + offset
    expected = at.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    assert instant_of_text(text, "auto") == micros(expected)


nearly_iso = st.text("0123456789-+:.,TtZzW ", max_size=36) | any_instants.map(datetime.isoformat)
nearly_iso |= any_instants.map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond}Z")


@example("0001-01-01T00:00:00.000000-00:00", 26, "T", False)  # these four Python's parser takes
@example("2024-02-29T10400800-23:59", 40, "", False)
@example("2024-02-29T10:00,00Z", 40, "", False)
@example("2024-02-29T10:00:00.123456٣Z", 40, "", False)
@given(nearly_iso, st.integers(0, 40), st.sampled_from("0123456789-+:.,TtZzW é"), st.booleans())
def test_the_quick_way_reads_no_text_otherwise_than_the_rules(text: str, at: int, put: str, over: bool) -> None:
    text = text[:at] + put + text[at + over :]
    if not instants.NUMBER.fullmatch(text):
        assert instant_of_text(text, "auto") == instants._of_iso(text)


@given(st.decimals(Decimal("-6e10"), Decimal("2.5e11"), places=9), st.sampled_from(["s", "ms", "us", "ns"]))
def test_a_number_of_any_unit_is_the_instant_it_says_cut_off_at_the_microsecond(seconds: Decimal, unit: str) -> None:
    number = seconds * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    assert instant_of_number(f"{number:f}", unit) == seconds * 10**6 // 1 - (seconds * 10**6 % 1 < 0)


@given(st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**12), 10**12), st.sampled_from(["auto", *instants.MICROS]))
def test_a_number_without_a_fraction_is_the_same_instant_as_its_text(number: int, epoch: str) -> None:
    assert instants.instant_of_integer(number, epoch) == instant_of_number(str(number), epoch)
