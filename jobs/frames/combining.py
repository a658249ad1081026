"""Decoded records added up in Spark's Python workers, by stitch.combining, before they go back to Spark.

What is handed over, weighed by each counter and looked up in a hash table of texts is then a row of some events, and
not each event. Arrow does it, batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from stitch.combining import TIMES, Combining
from stitch.decoding import TOPIC


def combined_batches(batches: Iterator[pa.RecordBatch], how: Combining) -> Iterator[pa.RecordBatch]:
    """(timestamp, perhaps TOPIC, event_id, …: as decoded) → the same columns and `times`: of a batch, events that
    count alike are one row, with their newest timestamp. Records that are no event, or whose notes tell of an absent
    field, stay as they are."""
    for batch in batches:
        for start in range(0, batch.num_rows, how.most):
            yield from _combined(batch.slice(start, how.most), how)


def _combined(batch: pa.RecordBatch, how: Combining) -> Iterator[pa.RecordBatch]:
    usual = pc.and_(batch.column("reject_reason").is_null(), batch.column("notes").is_null())
    others = batch.filter(pc.invert(usual))
    if others.num_rows:
        yield others.append_column(TIMES, pa.repeat(pa.scalar(1, pa.int64()), others.num_rows))
    if others.num_rows < batch.num_rows:
        yield _added_up(batch.filter(usual) if others.num_rows else batch, how)


def _added_up(events: pa.RecordBatch, how: Combining) -> pa.RecordBatch:
    own = {name: events.column(name) for name in (*how.own, TOPIC) if name in events.schema.names}
    struct = events.column("fields")
    fields = dict(zip(struct.type.names, struct.flatten(), strict=True))
    key = {
        **own,
        "ingest_window": _floored(events.column("timestamp"), how.ingest_window),
        "bucket": _floored(events.column("occurred_at"), how.bucket),
        **{f"field {name}": fields[name] for name in how.equal},
        **{f"sign of {name}": pc.sign(fields[name]) for name in how.summed},
    }
    values = {f"value of {name}": fields[name] for name in how.summed}
    table = pa.table({**key, "timestamp": events.column("timestamp"), **values})
    wanted = [("timestamp", "max"), ([], "count_all"), *[(name, "sum") for name in values]]
    found = table.group_by(list(key), use_threads=False).aggregate(wanted).combine_chunks().to_batches()[0]
    read = {name: found.column(f"field {name}") for name in how.equal}
    read |= {name: found.column(f"value of {name}_sum") for name in how.summed}
    columns = {
        "timestamp": found.column("timestamp_max"),
        "occurred_at": found.column("bucket"),
        **{name: found.column(name) for name in own},
        "fields": pa.StructArray.from_arrays(
            [read.get(one.name, pa.nulls(found.num_rows, one.type)) for one in struct.type], fields=list(struct.type)
        ),
        TIMES: found.column("count_all"),
    }
    schema = events.schema.append(pa.field(TIMES, pa.int64()))
    return pa.RecordBatch.from_arrays(
        [columns.get(one.name, pa.nulls(found.num_rows, one.type)) for one in schema], schema=schema
    )


def _floored(instants: pa.Array, seconds: int) -> pa.Array:
    """The start of the interval of that length (a divisor of a day) that holds the instant, UTC."""
    without_zone = instants.view(pa.timestamp("us"))  # for which Arrow needs no database of zones
    return pc.floor_temporal(without_zone, multiple=seconds, unit="second").view(instants.type)
