"""Batches of records through stitch.decoding, in Spark's Python workers, which need no more than this imports.

By Arrow and not row by row: Spark hands over columns, and the kept ones (a payload of a megabyte) go back as they came.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

import pyarrow as pa

from stitch.decoding import Decoder, Rules

_KINDS = {"string": pa.string(), "int": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}
_INSTANT = pa.timestamp("us", tz="UTC")


def decoded_batches(batches: Iterator[pa.RecordBatch], rules: Rules, keep: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """(value, timestamp, timestamp_type, keep…) → the columns to keep, and those of frames.events.decode."""
    decode = Decoder(rules).decode
    gc.disable()  # no row refers to itself: looking for such takes a quarter of the time and finds none
    try:
        for batch in batches:
            stamps = batch.column("timestamp").cast(pa.int64()).to_pylist()
            values, kinds = (batch.column(name).to_pylist() for name in ("value", "timestamp_type"))
            columns = _columns([decode(*record) for record in zip(values, stamps, kinds, strict=True)], rules)
            yield pa.RecordBatch.from_pydict({**{name: batch.column(name) for name in keep}, **columns})
    finally:
        gc.enable()


def _columns(rows: list[tuple], rules: Rules) -> dict[str, pa.Array]:
    event_ids, types, instants, values, notes, reasons = zip(*rows, strict=True) if rows else ((),) * 6
    kinds = [(field.name, _KINDS[field.kind]) for field in rules.fields]
    by_field = zip(*values, strict=True) if kinds and values else [()] * len(kinds)
    arrays = [pa.array(column, kind) for column, (_, kind) in zip(by_field, kinds, strict=True)]
    names = [name for name, _ in kinds]
    if not kinds:  # an event may be its own three and nothing else, a struct may not be empty
        names, arrays = ["none"], [pa.nulls(len(rows), pa.string())]
    return {
        "event_id": pa.array(event_ids, pa.string()),
        "type": pa.array(types, pa.string()),
        "occurred_at": pa.array(instants, _INSTANT),
        "fields": pa.StructArray.from_arrays(arrays, names),
        "notes": pa.array(notes, pa.list_(pa.string())),
        "reject_reason": pa.array(reasons, pa.string()),
    }
