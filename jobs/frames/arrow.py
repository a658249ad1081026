"""Batches of records through stitch.decoding, in Spark's Python workers, which need no more than this imports.

By Arrow and not row by row: Spark hands over columns, and the kept ones (a payload of a megabyte) go back as they came.
Of records of which everything is as it nearly always is, the instants of a whole batch are looked at by Arrow at once,
in half the time; every other record is decoded by itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.frames.combining import combined_batches
from stitch.combining import Combining
from stitch.decoding import CREATE_TIME, NO_TIME, TOPIC, Decoder, Rules, Unusual
from stitch.instants import FIRST, LAST, instant_of_integer, instant_of_text

_KINDS = {"string": pa.string(), "int": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}
_INSTANT = pa.timestamp("us", tz="UTC")
_DAY = 86_400 * 10**6
# What is decoded at once: what a batch costs beside its records is then small, and large records are few at a time.
_ROWS, _BYTES = 2000, 16 * 2**20
# What is added up at once: of few keys some thirty events become a row then, and of many it is 20 MB.
_ADDED_ROWS, _ADDED_BYTES = 65_536, 32 * 2**20


def decoded_batches(
    batches: Iterator[pa.RecordBatch], rules: Mapping[str, Rules], keep: Sequence[str], how: Combining | None = None
) -> Iterator[pa.RecordBatch]:
    """(value, timestamp, timestamp_type, keep…) → the columns to keep, and those of frames.events.decode.

    rules: topic → its rules; of several, the column TOPIC says by which a record is decoded
    how:   events that count alike are added up (frames.combining); None: they are not
    """
    each = _decoded(batches, rules, keep)
    yield from each if how is None else combined_batches(gathered(each, _ADDED_ROWS, _ADDED_BYTES), how)


def _decoded(
    batches: Iterator[pa.RecordBatch], rules: Mapping[str, Rules], keep: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    decoders = {topic: Decoder(of_it) for topic, of_it in rules.items()}
    gc.disable()  # no row refers to itself: looking for such takes a quarter of the time and finds none
    try:
        for gathered_batch in gathered(batches):
            for topic, batch in by_topic(gathered_batch, list(decoders)):
                record = (batch.column(name) for name in ("value", "timestamp", "timestamp_type"))
                columns = decoded_columns(decoders[topic], *record)
                yield pa.RecordBatch.from_pydict({**{name: batch.column(name) for name in keep}, **columns})
    finally:
        gc.enable()


def by_topic(batch: pa.RecordBatch, topics: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The records of each topic that the batch has some of. Raises KeyError for one that is none of the topics."""
    if len(topics) == 1:
        yield topics[0], batch
        return
    column = batch.column(TOPIC)
    found = pc.unique(column).to_pylist()
    if unknown := set(found) - set(topics):
        raise KeyError(f"records of {unknown}, which are none of the topics {topics}")
    for topic in found:
        yield topic, batch if len(found) == 1 else batch.filter(pc.equal(column, topic))


def gathered(
    batches: Iterator[pa.RecordBatch], most_rows: int = _ROWS, most_bytes: int = _BYTES
) -> Iterator[pa.RecordBatch]:
    """The batches, as many in one as make so many rows or bytes."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= most_rows or size >= most_bytes:
            yield pa.concat_batches(held)
            held.clear()
            rows = size = 0
    if held:
        yield pa.concat_batches(held)


def decoded_columns(decoder: Decoder, values: pa.Array, stamps: pa.Array, kinds: pa.Array) -> dict[str, pa.Array]:
    """The columns that the records are decoded into, each as `decoder.decode` decodes it."""
    rules, records, appended = decoder.rules, values.to_pylist(), stamps.cast(pa.int64())
    rows, odd = typed_rows(decoder, records)
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
    event_ids, types, said, *fields = columns or [[] for _ in range(3 + len(rules.fields))]
    instants = instants_of(said, rules.epoch)
    own = enumerate(zip(event_ids, types, strict=True))
    odd |= {row for row, (one, other) in own if not one or not other or one.isspace() or other.isspace()}
    odd.update(pc.indices_nonzero(pc.invert(accepted(instants, appended, kinds, rules))).to_pylist())
    notes, reasons = pa.nulls(len(rows), pa.list_(pa.string())), pa.nulls(len(rows), pa.string())
    if odd:
        instants, notes, reasons = instants.to_pylist(), [None] * len(rows), [None] * len(rows)
        moments, by_whom = appended.to_pylist(), kinds.to_pylist()
        for row in odd:
            found = decoder.decode(records[row], moments[row], by_whom[row])
            event_ids[row], types[row], instants[row], read, notes[row], reasons[row] = found
            for column, value in zip(fields, read, strict=True):
                column[row] = value
    return {
        "event_id": pa.array(event_ids, pa.string()),
        "type": pa.array(types, pa.string()),
        "occurred_at": pa.array(instants, pa.int64()).cast(_INSTANT),
        "fields": struct(rules, fields, len(rows)),
        "notes": pa.array(notes, pa.list_(pa.string())),
        "reject_reason": pa.array(reasons, pa.string()),
    }


def typed_rows(decoder: Decoder, records: list[bytes | None]) -> tuple[list[Sequence[Any]], set[int]]:
    """What `decoder.typed` makes of each record, and which are to be decoded by themselves: they are nulls here."""
    nothing = (None,) * (3 + len(decoder.rules.fields))
    rows: list[Sequence[Any]] = []
    odd = set()
    for row, record in enumerate(records):
        try:
            rows.append(decoder.typed(record))
        except Unusual:
            rows.append(nothing)
            odd.add(row)
    return rows, odd


def instants_of(said: Sequence[Any], epoch: str) -> pa.Array:
    """Texts, and numbers without a fraction, as µs since 1970; null where stitch.decoding is to say why not."""
    try:
        # Arrow's parser takes some of the forms that stitch.instants takes, and no other but with the year 0.
        found = pa.array(said, pa.string()).cast(_INSTANT).cast(pa.int64())
        within = pc.min_max(found).as_py()
        if within["min"] is not None and within["min"] >= FIRST + _DAY and within["max"] <= LAST:
            return found
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # one is a number, or of a form or a day that Arrow does not take
        pass
    return pa.array([_instant(each, epoch) for each in said], pa.int64())


def _instant(said: Any, epoch: str) -> int | None:
    if said is None:
        return None
    return instant_of_text(said, epoch) if isinstance(said, str) else instant_of_integer(said, epoch)


def accepted(instants: pa.Array, appended: pa.Array, kinds: pa.Array, rules: Rules) -> pa.Array:
    """Which records the broker stamped, not too far from when they occurred."""
    ago = pc.subtract(appended, instants)
    within = pc.and_(pc.less_equal(ago, pa.scalar(rules.max_past)), pc.greater_equal(ago, pa.scalar(-rules.max_future)))
    by_others = pc.is_in(kinds, pa.array([CREATE_TIME, NO_TIME], kinds.type))
    return pc.fill_null(pc.and_not(within, by_others), False)


def struct(rules: Rules, fields: Sequence[Sequence[Any]], length: int) -> pa.StructArray:
    """The column `fields`. A struct may not be empty, but an event may be its own three values and nothing else."""
    if not rules.fields:
        return pa.StructArray.from_arrays([pa.nulls(length, pa.string())], ["none"])
    arrays = [
        # Of doubles -0 and 0 are one.
        pa.array(
            [v if v is None else v + 0.0 for v in column] if field.kind == "double" else column, _KINDS[field.kind]
        )
        for column, field in zip(fields, rules.fields, strict=True)
    ]
    return pa.StructArray.from_arrays(arrays, [field.name for field in rules.fields])
