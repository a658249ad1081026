"""A batch by Arrow is what the rules say of each of its records, whichever of them are unusual."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.frames.arrow import decoded_batches, decoded_columns, gathered, instants_of
from stitch.decoding import TOPIC
from stitch.instants import instant_of_text
from tests.unit.test_decoding_model import APPENDED, DECODERS, PIECES, payloads
from tests.unit.test_instants import nearly_iso

DAY = 86_400 * 10**6
USUAL = (
    b'{"event_id":"e1","type":"play","occurred_at":"2024-02-29T10:00:00.5Z","track_id":"t",'
    b'"listener":{"country":"DE"}}',
    b'{"event_id":7,"type":"play","occurred_at":1709200800123,"track_id":12345678,"count":25000000,"volume":0.5}',
    b'{"event_id":"e1","type":"play","occurred_at":"0000-01-01T00:00:00Z"}',
    b'{"event_id":"e1","type":"play","occurred_at":"2024-02-30T10:00:00Z"}',
    b'{"event_id":"\\u001f","type":"play","occurred_at":"2024-02-29T10:00:00Z"}',
    b'{"event_id":"e1","type":"\\u2003","occurred_at":"2024-02-29T10:00:00Z"}',
)
broken = st.builds(lambda value, at, piece: value[: at % len(value)] + piece + value[at % len(value) :], payloads,
                   st.integers(0, 10_000), PIECES)  # fmt: skip
records = st.tuples(
    st.none() | st.sampled_from(USUAL) | payloads | broken,
    st.sampled_from([APPENDED, APPENDED, APPENDED - DAY, APPENDED + 9131 * DAY, 2**63 - 1, None]),
    st.sampled_from([1, 1, 1, None, 0, -1]),
)


@given(st.lists(records, max_size=6), st.sampled_from(DECODERS))
@example([(USUAL[0], APPENDED, 1), (USUAL[1], APPENDED, 1), (USUAL[3], APPENDED, 1)], DECODERS[0])
@example([(USUAL[0].replace(b'"track_id":"t"', b'"volume":-0'), APPENDED, 1)], DECODERS[0])
@example([(USUAL[0], APPENDED, 1), (USUAL[2], APPENDED, None), (USUAL[0], APPENDED, 0)], DECODERS[0])
@example([(USUAL[4], APPENDED, 1), (USUAL[5], APPENDED, 1), (USUAL[0], None, 1), (None, APPENDED, 1)], DECODERS[0])
def test_a_batch_is_decoded_as_each_of_its_records(batch: list[tuple[Any, Any, Any]], decoder: Any) -> None:
    values, stamps, kinds = ([record[at] for record in batch] for at in range(3))
    columns = [pa.array(values, pa.binary()), pa.array(stamps, pa.timestamp("us", "UTC")), pa.array(kinds, pa.int32())]
    expected = [decoder.decode(*record) for record in batch]
    for decoder._integers in (False, True):
        found = decoded_columns(decoder, *columns)
        own = [found[name].to_pylist() for name in ("event_id", "type", "notes", "reject_reason")]
        assert list(zip(*own, strict=True)) == [(e.event_id, e.type, e.notes, e.reject_reason) for e in expected]
        assert found["occurred_at"].cast(pa.int64()).to_pylist() == [e.occurred_at for e in expected]
        fields = [tuple(row[field.name] for field in decoder.rules.fields) for row in found["fields"].to_pylist()]
        assert repr(fields) == repr([tuple(e.fields) for e in expected])


def test_of_several_topics_each_record_is_decoded_by_the_rules_of_its_own() -> None:
    topics, values = ["a", "b", "b", "a", "b"], [USUAL[0], USUAL[0], USUAL[1], USUAL[1], None]
    of_topic = {"a": DECODERS[0].rules, "b": DECODERS[3].rules}

    def batch(topics: list[str]) -> pa.RecordBatch:
        stamps, kinds = pa.array([APPENDED] * 5, pa.timestamp("us", "UTC")), pa.array([1] * 5, pa.int32())
        columns = {"value": pa.array(values, pa.binary()), "timestamp": stamps, "timestamp_type": kinds}
        return pa.RecordBatch.from_pydict({TOPIC: pa.array(topics), "at": pa.array(range(5)), **columns})

    found = pa.Table.from_batches(decoded_batches(iter([batch(topics)]), of_topic, ["at"])).sort_by("at").to_pylist()
    assert [(row["at"], row["event_id"], row["type"]) for row in found] == [
        (0, "e1", "play"), (1, "e1", "play ♥"), (2, "7", "play ♥"), (3, "7", "play"), (4, None, None),
    ]  # fmt: skip
    with pytest.raises(KeyError, match=r"records of \{'c'\}, which are none of the topics"):
        list(decoded_batches(iter([batch(["a", "c", "c", "a", "b"])]), of_topic, ["at"]))


@given(nearly_iso, st.integers(0, 40), st.sampled_from("0123456789-+:.,TtZzW é"), st.booleans())
@example("2024-02-29T10:00:00.123456-23:59", 40, "", False)
@example("2024-02-29T23:59:60Z", 40, "", False)
@example("0000-06-01T00:00:00Z", 40, "", False)
@example("9999-12-31T23:59:59-01:00", 40, "", False)
@example("0000-12-31T23:00:00-02:00", 40, "", False)
@example("2024-02-29T10:00:00.123456789Z", 40, "", False)
def test_arrow_reads_no_text_as_another_instant_than_the_rules(text: str, at: int, put: str, over: bool) -> None:
    text = text[:at] + put + text[at + over :]
    assert instants_of([text], "auto").to_pylist() == [instant_of_text(text, "auto")]


def test_an_empty_batch_and_one_of_nothing_but_odd_records_have_all_columns() -> None:
    for values in ([], [None, b"{"]):
        stamps = pa.array([APPENDED] * len(values), pa.timestamp("us", "UTC"))
        kinds = pa.array([1] * len(values), pa.int32())
        found = decoded_columns(DECODERS[0], pa.array(values, pa.binary()), stamps, kinds)
        assert {len(column) for column in found.values()} == {len(values)}


def test_small_batches_are_decoded_together_and_large_records_few_at_a_time() -> None:
    def batches(rows: int, size: int, count: int) -> Any:
        return (pa.RecordBatch.from_pydict({"value": pa.array([b"x" * size] * rows)}) for _ in range(count))

    assert [batch.num_rows for batch in gathered(batches(250, 200, 10))] == [2000, 500]
    assert [batch.num_rows for batch in gathered(batches(10, 1_000_000, 5))] == [20, 20, 10]
    assert [batch.num_rows for batch in gathered(batches(0, 0, 2))] == [0]
    assert list(gathered(batches(1, 1, 0))) == []
