"""Files of rules parsed in Spark's Python workers, which need no more than this imports."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pyarrow as pa

from stitch.exclusions import parse

LINES = "line int, field string, value string, reason string, wrong string"


def parsed_parts(batches: Iterator[pa.RecordBatch], fields: Collection[str]) -> Iterator[pa.RecordBatch]:
    """(first: the number of its first line, content) of parts of a file → their lines (LINES)."""
    names = ("line", "field", "value", "reason", "wrong")
    kinds = (pa.int32(), *[pa.string()] * 4)
    for batch in batches:
        for part in batch.to_pylist():
            columns = list(zip(*parse(part["content"], fields, part["first"]), strict=True)) or [()] * len(names)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, names=list(names))
