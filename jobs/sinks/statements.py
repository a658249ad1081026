"""CQL that writes a row through the driver: whoever writes it names the columns, which stitch.tables must have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stitch.tables import table

Statement = tuple[str, tuple[Any, ...]]  # CQL, and its values


def upserting(name: str, row: Mapping[str, Any], write_time: int | None = None) -> Statement:
    """The statement that upserts the row (column → value) of the table; columns that it lacks stay as they are.

    write_time: µs (None: by the driver's clock). Raises KeyError for a table that stitch.tables does not have,
    ValueError for a column that the table does not have, or where one of its key is missing.
    """
    of_table = table(name)
    if unknown := row.keys() - {column.name for column in of_table.columns}:
        raise ValueError(f"the table {name} has no columns {sorted(unknown)}")
    if missing := set(of_table.key) - row.keys():
        raise ValueError(f"a row of the table {name} needs {sorted(missing)}: its key")
    using, stamp = ("", ()) if write_time is None else (" USING TIMESTAMP %s", (write_time,))
    places = ", ".join(["%s"] * len(row))
    return f"INSERT INTO {name} ({', '.join(row)}) VALUES ({places}){using}", (*row.values(), *stamp)
