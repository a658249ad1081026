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

_INSTANT = pa.timestamp("us", tz="UTC")
# What is added up at once: of few keys some thirty events become a row then, and of many it is 20 MB.
_MOST_EVENTS, _MOST_BYTES = 65_536, 32 * 2**20


def combined_batches(batches: Iterator[pa.RecordBatch], how: Combining) -> Iterator[pa.RecordBatch]:
    """(timestamp, perhaps TOPIC, event_id, …: as decoded) → the same columns and `times`: events that count alike are
    one row, with the newest timestamp of theirs. Records that are no event, or whose notes tell of an absent field,
    stay as they are."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    most = min(how.most, _MOST_EVENTS)
    for batch in batches:
        for start in range(0, batch.num_rows, most):
            piece = batch.slice(start, most)
            if held and (rows + piece.num_rows > most or size > _MOST_BYTES):
                yield from combined(pa.concat_batches(held), how)
                held.clear()
                rows = size = 0
            held.append(piece)
            rows, size = rows + piece.num_rows, size + piece.nbytes
    if held:
        yield from combined(pa.concat_batches(held), how)


def combined(batch: pa.RecordBatch, how: Combining) -> Iterator[pa.RecordBatch]:
    """One batch of combined_batches."""
    usual = pc.and_(batch.column("reject_reason").is_null(), batch.column("notes").is_null())
    others = batch.filter(pc.invert(usual))
    if others.num_rows:
        yield pa.RecordBatch.from_arrays(
            [*others.columns, pa.repeat(pa.scalar(1, pa.int64()), others.num_rows)], [*batch.schema.names, TIMES]
        )
    if others.num_rows < batch.num_rows:
        yield _added_up(batch.filter(usual) if others.num_rows else batch, how)


def _added_up(events: pa.RecordBatch, how: Combining) -> pa.RecordBatch:
    own = {name: events.column(name) for name in (*how.own, TOPIC) if name in events.schema.names}
    appended, occurred = (events.column(name).cast(pa.int64()) for name in ("timestamp", "occurred_at"))
    fields = dict(
        zip([one.name for one in events.column("fields").type], events.column("fields").flatten(), strict=True)
    )
    key = {
        **own,
        "ingest_window": _floored(appended, how.ingest_window),
        "bucket": _floored(occurred, how.bucket),
        **{f"field {name}": fields[name] for name in how.equal if name in fields},
        **{f"sign of {name}": pc.sign(fields[name]) for name in how.summed},
    }
    table = pa.table({**key, "appended": appended, **{f"sum of {name}": fields[name] for name in how.summed}})
    sums = [(f"sum of {name}", "sum") for name in how.summed]
    found = table.group_by(list(key), use_threads=False).aggregate([("appended", "max"), ([], "count_all"), *sums])
    found = found.combine_chunks().to_batches()[0]
    rows = found.num_rows
    columns = {
        "timestamp": found.column("appended_max").cast(_INSTANT),
        "occurred_at": found.column("bucket").cast(_INSTANT),
        **{name: found.column(name) for name in own},
        "fields": pa.StructArray.from_arrays(
            [
                found.column(f"field {one.name}") if one.name in how.equal
                else found.column(f"sum of {one.name}_sum") if one.name in how.summed
                else pa.nulls(rows, one.type)
                for one in events.column("fields").type
            ],
            fields=list(events.column("fields").type),
        ),
        TIMES: found.column("count_all"),
    }  # fmt: skip
    schema = [*events.schema, pa.field(TIMES, pa.int64())]
    return pa.RecordBatch.from_arrays(
        [columns[one.name] if one.name in columns else pa.nulls(rows, one.type) for one in schema],
        [one.name for one in schema],
    )


def _floored(instants: pa.Array, length: int) -> pa.Array:
    """The start of the interval of that length (µs) that holds the instant (µs), before 1970 too."""
    quotient = pc.divide(instants, length)  # towards zero
    start = pc.multiply(quotient, length)
    return pc.if_else(pc.greater(start, instants), pc.subtract(start, length), start)
